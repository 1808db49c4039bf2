"""Entry point of `python -m bulklink`."""

from bulklink.cli.main import main

if __name__ == "__main__":
    main()
