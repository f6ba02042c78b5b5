"""The interactions that write: what a request wants, under which conditions, and doing it in a session."""
