"""`python -m authserver.cli` is the command `authserver`."""

from authserver.cli import main

if __name__ == "__main__":
    main()
