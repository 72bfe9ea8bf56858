"""``python -m streamem`` is the command ``streamem``."""

from streamem.cli import main

if __name__ == "__main__":
    main()
