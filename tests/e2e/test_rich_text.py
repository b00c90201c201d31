"""Real editors and the server's rich text: what an editor writes is read, and what is set is what it shows."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest

from collab.richtext.names import RichSchema
from tests.collab.richtext.documents import Document, document
from tools import machine

FOLDER = Path(__file__).parent / "editors"
ROOTS = {"lexical": "root"}
EDITORS: tuple[RichSchema, ...] = ("tiptap", "prosemirror", "quill", "blocknote", "lexical")

SET = """# New *title*

Hello **bold** ~~old~~ [world](https://x.y) 😀

- one
- two
  - deep

3. three
4. four

> quoted

```js
let x
let y
```

end
"""
# What each editor's schema lacks.
LACKS = {"prosemirror": {"~~old~~": "old", "```js": "```"}, "quill": {"3. three\n4.": "1. three\n2."}}


async def edit(*requests: dict[str, Any]) -> list[dict[str, Any]]:
    """What ``editors/headless.js`` answers."""
    lines = "".join(f"{json.dumps(request)}\n" for request in requests)
    done = await asyncio.to_thread(
        subprocess.run,
        [str(machine.node()), "headless.js"],
        cwd=FOLDER,
        input=lines,
        capture_output=True,
        text=True,
        check=False,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(answers) == len(requests), done.stderr
    for answer in answers:
        assert "error" not in answer, answer["error"]
    return answers


async def written(editor: str, content: Any) -> Document:
    """The document of an editor that got a content."""
    (answer,) = await edit({"editor": editor, "updates": [], "write": content})
    return document([bytes.fromhex(update) for update in answer["updates"]], 2000)


async def shown(editor: str, made: Document) -> Any:
    """What an editor shows of a document, which it must leave as it is."""
    (answer,) = await edit({"editor": editor, "updates": [update.hex() for update in made.updates]})
    for update in answer["updates"]:
        made.apply(bytes.fromhex(update))
    return answer["shown"]


def text(characters: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": characters, **more}


def lexical_text(characters: str, bits: int = 0, kind: str = "text") -> dict[str, Any]:
    return {"type": kind, "text": characters, "version": 1, "format": bits, "mode": "normal", "style": "", "detail": 0}


def lexical(kind: str, *children: dict[str, Any], **more: Any) -> dict[str, Any]:
    base = {"type": kind, "version": 1, "direction": None, "format": "", "indent": 0}
    return {**base, **more, "children": list(children)}


CONTENTS: dict[str, tuple[Any, str, str]] = {
    "tiptap": (
        "<h2>Ti</h2><p>a <strong>b</strong> <u>c</u></p><ul data-type='taskList'><li data-type='taskItem'"
        " data-checked='true'><p>t</p></li></ul><p><a href='https://x.y'>l</a><br>z</p><img src='https://i.png'"
        " alt='i'><pre><code class='language-py'>x</code></pre><table><tbody><tr><th><p>h</p></th></tr><tr><td><p>d"
        "</p></td></tr></tbody></table><hr><p></p>",
        "## Ti\n\na **b** c\n\n- [x] t\n\n[l](https://x.y)\\\nz\n\n![i](https://i.png)\n\n```py\nx\n```\n\n"
        "| h |\n| --- |\n| d |\n\n___\n",
        "<h2>Ti</h2><p>a <strong>b</strong> <u>c</u></p>",
    ),
    "prosemirror": (
        {
            "type": "doc",
            "content": [
                {"type": "heading", "attrs": {"level": 3}, "content": [text("a", marks=[{"type": "strong"}])]},
                {"type": "ordered_list", "attrs": {"order": 4}, "content": [
                    {"type": "list_item", "content": [{"type": "paragraph", "content": [
                        text("b", marks=[{"type": "em"}]), {"type": "hard_break"}, text("c", marks=[{"type": "code"}]),
                        {"type": "image", "attrs": {"src": "/i"}},
                    ]}]},
                ]},
            ],
        },
        "### **a**\n\n4. *b*\\\n   `c`![](/i)\n",
        '<h3><strong>a</strong></h3><ol start="4"><li><p><em>b</em><br><code>c</code>',
    ),
    "quill": (
        [
            {"insert": "T"}, {"insert": "\n", "attributes": {"header": 1}},
            {"insert": "b", "attributes": {"bold": True}}, {"insert": "\n", "attributes": {"list": "bullet"}},
            {"insert": "n", "attributes": {"link": "/l", "underline": True}},
            {"insert": "\n", "attributes": {"list": "checked", "indent": 1}},
            {"insert": "c"}, {"insert": "\n", "attributes": {"code-block": "python"}},
            {"insert": "d"}, {"insert": "\n", "attributes": {"code-block": "python"}},
            {"insert": {"image": "https://i.png"}}, {"insert": "\nlast\n"},
        ],
        "# T\n\n- **b**\n  - [x] [n](/l)\n\n```python\nc\nd\n```\n\n![](https://i.png)\n\nlast\n",
        "<h1>T</h1><ul><li><p><strong>b</strong></p>",
    ),
    "blocknote": (
        [
            {"type": "heading", "props": {"level": 2}, "content": "H"},
            {"type": "bulletListItem", "content": [
                {"type": "text", "text": "a", "styles": {"bold": True}}, {"type": "link", "href": "/l", "content": "l"},
            ], "children": [{"type": "checkListItem", "props": {"checked": True}, "content": "in"}]},
            {"type": "numberedListItem", "content": "n"},
            {"type": "codeBlock", "props": {"language": "python"}, "content": "x=1"},
            {"type": "quote", "content": "q"},
            {"type": "table", "content": {"type": "tableContent", "headerRows": 1, "rows": [
                {"cells": ["a"]}, {"cells": ["1"]},
            ]}},
            {"type": "image", "props": {"url": "https://i.png", "caption": "cap"}},
            {"type": "divider"},
        ],
        "## H\n\n- **a**[l](/l)\n  - [x] in\n\n1. n\n\n```python\nx=1\n```\n\n> q\n\n| a |\n| --- |\n| 1 |\n\n"
        "![cap](https://i.png)\n\n___\n",
        '<h2>H</h2><ul><li><p><strong>a</strong><a href="/l">l</a></p>',
    ),
    "lexical": (
        {"root": {"children": [
            lexical("heading", lexical_text("H", 1), tag="h1"),
            lexical("paragraph", lexical_text("plain "), lexical_text("both", 3), {"type": "linebreak", "version": 1},
                    lexical("link", lexical_text("l"), url="https://x.y", rel=None, target=None, title=None)),
            lexical("list", lexical("listitem", lexical_text("a"), value=1), lexical(
                "listitem", lexical("list", lexical("listitem", lexical_text("n"), value=1, checked=True),
                                    listType="check", start=1, tag="ul"), value=2),
                    listType="bullet", start=1, tag="ul"),
            lexical("quote", lexical_text("q", 8)),
            lexical("code", lexical_text("x", 0, "code-highlight"), {"type": "linebreak", "version": 1},
                    lexical_text("y", 0, "code-highlight"), language="py"),
        ]}},
        "# **H**\n\nplain ***both***\\\n[l](https://x.y)\n\n- a\n  - [x] n\n\n> q\n\n```py\nx\ny\n```\n",
        "<h1><strong>H</strong></h1><p>plain <strong><em>both</em></strong><br>",
    ),
}  # fmt: skip


@pytest.mark.parametrize("editor", EDITORS)
async def test_what_an_editor_writes_is_read_and_setting_it_again_changes_nothing(editor: RichSchema) -> None:
    content, markdown, html = CONTENTS[editor]
    made = await written(editor, content)
    root = ROOTS.get(editor, "content")
    assert made.read("markdown", root) == markdown
    assert html in made.read("html", root)
    for form in ("markdown", "html", "prosemirror"):
        assert made.edit(form, made.read(form, root), root=root) is None


@pytest.mark.parametrize("start", ["empty", "written"])
@pytest.mark.parametrize("editor", EDITORS)
async def test_what_is_set_is_what_the_editor_shows_and_nothing_that_it_repairs(editor: RichSchema, start: str) -> None:
    root = ROOTS.get(editor, "content")
    made = Document() if start == "empty" else await written(editor, CONTENTS[editor][0])
    wanted = SET
    for has, instead in LACKS.get(editor, {}).items():
        wanted = wanted.replace(has, instead)
    made.set("markdown", wanted, editor, root)
    before = made.read("prosemirror", root)
    seen = await shown(editor, made)
    assert made.read("prosemirror", root) == before
    assert made.read("markdown", root) == wanted
    # what the editor shows, put into another document by the editor itself, reads the same
    again = await written(editor, as_content(editor, seen))
    assert again.read("markdown", root) == wanted


def as_content(editor: str, seen: Any) -> Any:
    return {"root": {"children": seen["json"]}} if editor == "lexical" else seen["json"]


async def test_json_of_tiptap_is_exactly_what_it_says_itself() -> None:
    made = await written("tiptap", CONTENTS["tiptap"][0])
    seen = await shown("tiptap", made)
    assert json.loads(made.read("prosemirror")) == without_nulls(seen["json"])


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: without_nulls(item) for key, item in value.items() if item is not None}
        return {key: item for key, item in kept.items() if key != "attrs" or item}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


async def test_an_editor_types_into_a_paragraph_that_is_set_at_the_same_time() -> None:
    made = Document()
    made.set("markdown", "# Title\n\none two three\n", "tiptap")
    content = {"type": "doc", "content": [
        {"type": "heading", "attrs": {"level": 1}, "content": [text("Title")]},
        {"type": "paragraph", "content": [text("one two three four")]},
    ]}  # fmt: skip
    (answer,) = await edit({"editor": "tiptap", "updates": [u.hex() for u in made.updates], "write": content})
    update = made.set("markdown", "# Title\n\nzero two three\n")
    assert update is not None
    for each in answer["updates"]:
        made.apply(bytes.fromhex(each))
    assert made.read("markdown") == "# Title\n\nzero two three four\n"
    seen = await shown("tiptap", made)
    assert cast(str, seen["html"]) == "<h1>Title</h1><p>zero two three four</p>"
