"""`python -m compose`: the command without its check; `up --detach` starts itself this way."""

from compose.cli import main

if __name__ == "__main__":
    main()
