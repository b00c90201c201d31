"""``python -m collab`` is the command ``collab``."""

from collab.server.cli import main

if __name__ == "__main__":
    main(prog_name="collab")
