"""Documents as Markdown, HTML and JSON of editors over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from collab import Collab, Settings
from collab.storage.memory import MemoryStorage
from tests.collab.serving import serving

PATH = "/rooms/documents/d"
FORMS = ("markdown", "html", "text", "prosemirror")


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    collab = Collab(Settings(max_message_bytes=100_000), storage=MemoryStorage())
    async with serving(collab) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=40) as client:
        yield client


async def put(http: httpx.AsyncClient, content: str | bytes, **params: str) -> httpx.Response:
    return await http.put(PATH, params=params, content=content)


async def test_a_document_is_put_as_markdown_and_got_in_each_format(http: httpx.AsyncClient) -> None:
    assert (await put(http, "# Hé\n\n[a](/b)\n", format="markdown", root="default")).status_code == 204
    shown = {form: await http.get(PATH, params={"format": form}) for form in FORMS}
    assert {form: answer.status_code for form, answer in shown.items()} == dict.fromkeys(shown, 200)
    assert shown["markdown"].text == "# Hé\n\n[a](/b)\n"
    assert shown["html"].text == '<h1>Hé</h1><p><a href="/b">a</a></p>'
    assert shown["text"].text == "Hé\na"
    assert shown["prosemirror"].json()["content"][0]["attrs"] == {"level": 1}
    assert {form: answer.headers["content-type"] for form, answer in shown.items()} == {
        "markdown": "text/markdown; charset=utf-8",
        "html": "text/html; charset=utf-8",
        "text": "text/plain; charset=utf-8",
        "prosemirror": "application/json",
    }
    accepted = await http.get(PATH, headers={"accept": "text/markdown"})
    assert accepted.text == shown["markdown"].text


async def test_html_of_a_document_is_no_page_of_ours(http: httpx.AsyncClient) -> None:
    await put(http, "<p>a</p><script>alert(1)</script>", format="html", root="default")
    answer = await http.get(PATH, params={"format": "html"})
    assert answer.text == "<p>a</p>"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_the_schema_chooses_the_editor_of_an_empty_root(http: httpx.AsyncClient) -> None:
    assert (await put(http, "a **b**", format="markdown", root="quill", schema="quill")).status_code == 204
    answer = await http.get(PATH, params={"format": "delta", "root": "quill"})
    assert answer.json() == [{"insert": "a "}, {"insert": "b", "attributes": {"bold": True}}, {"insert": "\n"}]


@pytest.mark.parametrize(
    ("params", "content", "why"),
    [
        ({}, "a", "format must be one of markdown, html, prosemirror, text"),
        ({"format": "json"}, "a", "format must be one of"),
        ({"format": "markdown", "schema": "word", "root": "a"}, "a", "schema must be one of tiptap"),
        ({"format": "markdown", "rot": "a"}, "a", "rot"),
        ({"format": "markdown"}, "a", "name a root"),
        ({"format": "markdown", "root": "a"}, b"\xff", "the body is not UTF-8"),
        ({"format": "prosemirror", "root": "a"}, "{", "the body is not JSON"),
    ],
)
async def test_a_wrong_request_says_what_is_wrong(
    http: httpx.AsyncClient, params: dict[str, str], content: str | bytes, why: str
) -> None:
    answer = await put(http, content, **params)
    assert answer.status_code == 400
    assert why in answer.text
    assert (await http.get(PATH)).json() == {}


async def test_a_body_that_is_too_large_is_refused(http: httpx.AsyncClient) -> None:
    answer = await put(http, "a" * 100_001, format="markdown", root="default")
    assert answer.status_code == 413
