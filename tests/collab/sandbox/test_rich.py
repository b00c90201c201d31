"""Rich text in the child process."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from collab.errors import InvalidRequest
from collab.sandbox.client import Child, Sandbox
from collab.turns import TurnOwner

NOTHING = b"\0\0"


@pytest.fixture
async def child() -> AsyncIterator[Child]:
    sandbox = Sandbox()
    async with sandbox.turn(TurnOwner("p", "c")) as child:
        yield child
    await sandbox.close()


async def test_a_child_reads_what_it_has_written(child: Child) -> None:
    update = await child.rewrite(NOTHING, {}, "default", "markdown", "# a", None, 40)
    assert update is not None
    assert await child.read_rich(update, {}, None, "html", 40) == "<h1>a</h1>"
    assert await child.rewrite(update, {}, None, "markdown", "# a", None, 40) is None


async def test_wrong_content_is_no_fault_of_the_document_and_the_child_goes_on(child: Child) -> None:
    with pytest.raises(InvalidRequest, match="the body is not JSON"):
        await child.rewrite(NOTHING, {}, "default", "prosemirror", "{", None, 40)
    assert await child.read_rich(NOTHING, {}, None, "markdown", 40) == ""


@pytest.mark.parametrize("html", ["<div>", "<ul><li>", "<p>a</p><b><blockquote>"])
async def test_html_that_is_nested_very_deeply_is_refused_before_it_takes_long(child: Child, html: str) -> None:
    with pytest.raises(InvalidRequest, match="nested more than 200 levels deep"):
        await child.rewrite(NOTHING, {}, "default", "html", html * 250_000, None, 40)
