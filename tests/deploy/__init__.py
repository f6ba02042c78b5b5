"""The files of docs/deploy, tried as far as a test can: nginx for real, units by their own checker."""
