"""Parts of `dev.py`; standard library only, so that they run from a bare checkout."""
