"""An edit that ends the worker of a document's owner comes over another node: it ends one worker, once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.chaos.doomed import SEGFAULT
from tests.chaos.victims import PATIENCE, join, lost
from tests.cluster.cluster import Node, answers, cluster, until
from tests.collab.serving import Editor

pytestmark = pytest.mark.chaos

DOCUMENT = "documents/victim"


def worker_of(node: Node) -> int:
    (worker,) = node.workers
    return worker.pid


async def comes(node: Node, name: str, client: Editor | None = None) -> Editor:
    """A client that has joined at a node, the same as before if one is given."""
    return await join(node.url.removeprefix("http://"), name, client)


async def text_at(node: Node, name: str) -> str:
    """What somebody new reads there."""
    reader = await comes(node, name)
    await reader.socket.close()
    return str(reader.text)


async def test_e9_a_poisonous_edit_that_comes_over_another_node_ends_one_worker_once_and_is_refused_everywhere(
    tmp_path: Path,
) -> None:
    async with cluster(tmp_path, 3, options=("--app", "tests.cluster.doomed:collab")) as one:
        owner, edge, third = one.nodes
        victim = await comes(owner, DOCUMENT)
        await victim.type("I was here. ")
        neighbour = await comes(edge, "documents/neighbour")
        await neighbour.type("So was I. ")
        assert await one.owner(DOCUMENT) is owner
        assert await one.owner("documents/neighbour") is edge
        others = [worker_of(edge), worker_of(third)]
        first = worker_of(owner)

        culprit = await comes(edge, DOCUMENT)
        await culprit.until_text("I was here. ")
        await culprit.type(SEGFAULT)
        assert await lost(culprit) == 1012, "as when a server restarts"
        assert await lost(victim) == 1006
        await until(lambda: len(owner.workers) == 1 and worker_of(owner) != first, "another worker", PATIENCE)
        await answers(owner)  # what ended the last worker is stored by then

        for node in (edge, third, owner):  # the same edit again, as a stock client repeats it
            await comes(node, DOCUMENT, culprit)
            assert await lost(culprit) == 4422
            assert await text_at(node, DOCUMENT) == "I was here. "
        await comes(third, DOCUMENT, victim)
        await victim.type("I still am.")
        await neighbour.type("So am I.")
        for node in one.nodes:
            assert await text_at(node, DOCUMENT) == "I was here. I still am."
            assert await text_at(node, "documents/neighbour") == "So was I. So am I."
        assert [worker_of(edge), worker_of(third)] == others
        assert sum(node.log().count("the worker died") for node in one.nodes) == 1
        (row,) = await one.fetch("SELECT content, reason, seq FROM collab.set_aside")
        assert SEGFAULT.encode() in row["content"]
        assert row["seq"] is None
        await victim.socket.close()
        await neighbour.socket.close()


async def test_e9_a_poisonous_edit_ends_no_second_worker_while_the_first_one_takes_long_to_start_again(
    tmp_path: Path,
) -> None:
    async with cluster(tmp_path, 2, options=("--app", "tests.cluster.doomed:collab")) as one:
        owner, other = one.nodes
        culprit = await comes(owner, DOCUMENT)
        await culprit.type("I was here. ")
        while not await one.fetch("SELECT FROM lab.commits"):
            await asyncio.sleep(0.01)
        assert await one.owner(DOCUMENT) is owner
        survivor = worker_of(other)
        slow = owner.folder / "slow"
        slow.touch()

        await culprit.type(SEGFAULT)
        assert await lost(culprit) == 1006
        await comes(other, DOCUMENT, culprit)  # waits at most until the owner is declared dead
        assert await lost(culprit) == 4422
        assert await one.owner(DOCUMENT) is other
        assert await text_at(other, DOCUMENT) == "I was here. "
        assert worker_of(other) == survivor
        assert "the worker died" not in other.log()

        slow.unlink()
        await answers(owner)
        await comes(owner, DOCUMENT, culprit)
        assert await lost(culprit) == 4422
        assert len(await one.fetch("SELECT FROM collab.set_aside")) == 1
