"""Which versions of a schema a program accepts. A schema has a number, 0 if there is none."""

from __future__ import annotations

from collab.storage.base import StorageCorrupt, StorageError


def check_known(version: int, newest: int) -> None:
    """Raise :class:`StorageCorrupt` if the version of a schema is later than ``newest``, which this program knows."""
    if version > newest:
        raise StorageCorrupt(
            f"the database has schema version {version}, this program knows {newest}: "
            "a newer version wrote it; it was not touched"
        )


def check_found(version: int, newest: int) -> None:
    """Raise unless there is a schema of a version up to ``newest``.

    Raises :class:`StorageError` if the version is 0, for there is no record then, and :class:`StorageCorrupt` if it is
    later.
    """
    check_known(version, newest)
    if not version:
        raise StorageError("the database holds no record")


def check_newest(version: int, newest: int) -> None:
    """:func:`check_found`, and raise :class:`StorageCorrupt` if the version is an earlier one."""
    check_found(version, newest)
    if version < newest:
        raise StorageCorrupt(
            f"the database has schema version {version}, this program needs {newest}: run `collab migrate` first"
        )
