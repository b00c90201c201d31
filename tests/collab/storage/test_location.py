"""Where a record may be, and what people see of that."""

from pathlib import Path

import pytest

from collab.storage.location import has_password, is_postgres, shown, storage_at
from collab.storage.postgres.storage import PostgresStorage
from collab.storage.sqlite.storage import SqliteStorage


@pytest.mark.parametrize("url", ["postgresql://h/db", "postgres://u@[::1]:5432/db?sslmode=verify-full"])
def test_a_url_of_postgresql_is_a_postgresql_database(url: str) -> None:
    assert is_postgres(url)
    assert isinstance(storage_at(url), PostgresStorage)


@pytest.mark.parametrize("folder", ["data", "/var/lib/collab", "C:\\data", "postgresql", "./postgresql:/x"])
def test_anything_without_a_scheme_is_a_folder(folder: str) -> None:
    assert not is_postgres(folder)
    assert isinstance(storage_at(folder), SqliteStorage)


@pytest.mark.parametrize(
    "url", ["mysql://h/db", "http://h", "://", "postgresql+asyncpg://h/db", "postgresql://[::1/db"]
)
def test_any_other_url_is_an_error(url: str) -> None:
    with pytest.raises(ValueError, match=r"postgresql://|IPv6"):
        is_postgres(url)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("postgresql://u:p@h/db", True),
        ("postgresql://u:@h/db", True),
        ("postgresql://h/db?user=u&password=p", True),
        ("postgresql://h/db?sslpassword=p", True),
        ("postgresql://u@h/db?passfile=/run/pgpass", False),
        ("data", False),
    ],
)
def test_a_password_in_a_url_is_found(url: str, found: bool) -> None:
    assert has_password(url) is found


@pytest.mark.parametrize("url", ["postgresql://u:s3cret@h:1/db?password=s3cret", "postgresql://u:s3@cret@h:1/db"])
def test_people_see_neither_user_nor_password_nor_parameters(url: str) -> None:
    assert shown(url) == "postgresql://h:1/db"


def test_people_see_the_whole_path_of_a_folder() -> None:
    assert shown("data") == str(Path("data").absolute())
