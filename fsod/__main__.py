"""``python -m fsod`` is the command ``fsod``."""

from fsod.cli import main

if __name__ == "__main__":
    main()
