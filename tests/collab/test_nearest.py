"""The known name that an unknown one probably means."""

import pytest

from collab.nearest import did_you_mean, nearest

KNOWN = ("limit", "offset", "orderBy", "startsWith", "jwt_secret")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("limt", "limit"),
        ("LIMIT", "limit"),
        ("$limit", "limit"),
        ("order_by", "orderBy"),
        ("starts-with", "startsWith"),
        ("jwtSecrets", "jwt_secret"),
        ("xyz", None),
        ("", None),
        ("l" * 1_000_000, None),
    ],
)
def test_the_nearest_name_is_found(name: str, meant: str | None) -> None:
    assert nearest(name, KNOWN) == meant
    assert did_you_mean(name, KNOWN) == (f"; did you mean {meant}?" if meant else "")
