"""`python -m bulklink` is `bulklink`."""

from bulklink.cli.main import main

if __name__ == "__main__":
    main()
