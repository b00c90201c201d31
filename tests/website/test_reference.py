"""Reference pages: each name that users import, under the name by which they import it."""

from __future__ import annotations

import pytest

import collab
import collab.client
import presence
from tools.machine import ROOT
from website.reference import PACKAGES, homes, python_page, typescript_page, typescript_place
from website.roles import without_roles


@pytest.mark.parametrize("package", PACKAGES)
def test_each_name_that_a_package_offers_is_on_its_page(package: str) -> None:
    source = (ROOT / package.replace(".", "/") / "__init__.py").read_text()
    page = python_page(package, source)
    assert homes(source)
    for name, home in homes(source).items():
        assert home.rpartition(".")[2] == name
        assert f"\n::: {home}\n" in page


def test_no_offered_name_is_missing() -> None:
    for module in (collab, collab.client, presence):
        assert module.__file__ is not None
        with open(module.__file__) as file:
            assert sorted(homes(file.read())) == sorted(module.__all__)


@pytest.mark.parametrize(
    ("made", "there"),
    [
        ("client/src.md", "client.md"),
        ("client/src/stores.md", "client-stores.md"),
        ("client/src/documents-1.md", "client-documents.md"),
        ("vue/src.md", "vue.md"),
    ],
)
def test_an_entry_of_a_package_has_one_page(made: str, there: str) -> None:
    assert typescript_place(made) == there


def test_a_page_of_no_entry_is_refused() -> None:
    with pytest.raises(LookupError):
        typescript_place("client/src/classes/Client.md")


def test_typescript_has_the_name_that_users_import_and_links_to_the_other_pages() -> None:
    text = "# client/src/stores\n\n[Client](../src.md#client), [x](#x), [y](../../react/src.md#y)"
    assert typescript_page("client/src/stores.md", text) == (
        "# @lumenize/client/stores\n\n[Client](client.md#client), [x](#x), [y](react.md#y)"
    )


def test_roles_of_sphinx_in_docstrings_are_code() -> None:
    assert without_roles("See :meth:`Hooks.load`, :class:`~collab.Hooks`, ``a:b`` and `c`.") == (
        "See `Hooks.load`, `collab.Hooks`, ``a:b`` and `c`."
    )
