"""Run the ``collab`` command as ``python -m collab``."""

from collab.server.cli import main

if __name__ == "__main__":
    main(prog_name="collab")
