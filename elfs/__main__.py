"""``python -m elfs``."""

from elfs.cli.app import main

if __name__ == "__main__":
    main()
