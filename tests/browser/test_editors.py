"""Editors as docs/editors.md shows them: two people, a cut, a killed server, a late reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Route, expect

from tests.browser.demo import PATIENCE, Demo, Window, running
from tests.e2e.pages import build
from tools import machine

pytestmark = [pytest.mark.browser, pytest.mark.chaos, pytest.mark.asyncio(loop_scope="module")]

FOLDER = machine.ROOT / "tests" / "e2e" / "editors"

# Where people type, what they read there, and where they see the caret of somebody else.
AREAS = {
    "tiptap": "[contenteditable].ProseMirror",
    "prosemirror": "[contenteditable].ProseMirror",
    "quill": "[contenteditable].ql-editor",
    "codemirror": "[contenteditable].cm-content",
    "lexical": "[contenteditable]",
    "blocknote": "[contenteditable].bn-editor",
    "monaco": ".monaco-editor .native-edit-context, .monaco-editor textarea",
    "slate": "[contenteditable]",
    "milkdown": "[contenteditable].ProseMirror",
}
# What somebody typed there, without the carets of others.
_TYPED = """
const typed = (copy) => {
  const others = [
    '.ProseMirror-yjs-cursor, .bn-collaboration-cursor__base, .collaboration-carets__caret',
    '.cm-ySelectionCaret, .ql-cursors, [data-slate-zero-width]',
  ].join()
  copy.querySelectorAll(others).forEach((label) => label.remove())
  return copy.textContent.replace(/[\\u2060\\ufeff\\u200b]/g, '').replaceAll('\\u00a0', ' ')
}
"""
_READ = f"""
(editor) => {{
  {_TYPED}
  const lines = editor.matches(':has(.view-line)') ? '.view-line' : '[contenteditable=true]'
  return [...editor.querySelectorAll(lines)].map((element) => typed(element.cloneNode(true))).join('')
}}
"""
# Whether the caret stands before or behind all text. Monaco keeps its caret elsewhere than in the selection.
_CARET_STANDS = f"""
(area, at) => {{
  {_TYPED}
  if (area.closest('.monaco-editor')) return true
  const {{ focusNode, focusOffset }} = getSelection()
  if (!area.contains(focusNode)) return false
  const rest = document.createRange()
  rest.selectNodeContents(area)
  if (at.endsWith('End')) rest.setStart(focusNode, focusOffset)
  else rest.setEnd(focusNode, focusOffset)
  return typed(rest.cloneContents()) === ''
}}
"""
_STANDS = 4  # looks in a row
CARETS = {
    "tiptap": ".collaboration-carets__label:text-is('{name}')",
    "prosemirror": ".ProseMirror-yjs-cursor:has-text('{name}')",
    "quill": ".ql-cursor-name:text-is('{name}')",
    "codemirror": ".cm-ySelectionInfo:text-is('{name}')",
    "lexical": "#editor span:text-is('{name}'), body > div span:text-is('{name}')",
    "blocknote": ".bn-collaboration-cursor__label:text-is('{name}')",
    "monaco": ".yRemoteSelectionHead",
    "slate": "[title='{name}']",
    "milkdown": ".ProseMirror-yjs-cursor:has-text('{name}')",
}
# Lexical's binding asks for the events of y-websocket; the others take either, and get them in turn.
TEXTS = [
    ("tiptap", "hocuspocus"),
    ("prosemirror", "y-websocket"),
    ("quill", "y-websocket"),
    ("codemirror", "hocuspocus"),
    ("lexical", "y-websocket"),
    ("blocknote", "hocuspocus"),
    ("monaco", "y-websocket"),
    ("slate", "hocuspocus"),
    ("milkdown", "y-websocket"),
]
DRAWINGS = [("tldraw", "hocuspocus"), ("excalidraw", "y-websocket")]

# What drawings complain of where their fonts and icons, which they take from other hosts, are out of reach.
_ASSETS = ("source image cannot be decoded", "A network error occurred", "Failed to fetch", "ERR_FAILED")


class Writer(Window):
    """One person's window on one editor."""

    editor: str

    async def has_started(self) -> None:
        await self.page.wait_for_function("window.page !== undefined", timeout=PATIENCE * 1000)

    async def writes(self, text: str, at: str = "Control+End") -> None:
        area = self.page.locator(AREAS[self.editor]).first
        await area.wait_for(state="attached")
        await area.focus()
        await self._puts_caret(area, at)
        await self.page.keyboard.type(text)

    async def _puts_caret(self, area: Locator, at: str) -> None:
        """Press the key as often as a person would: a focused editor may yet put the caret where it last was."""
        async with asyncio.timeout(PATIENCE):
            stands = 0
            while stands < _STANDS:
                if not stands:
                    await self.page.keyboard.press(at)
                await asyncio.sleep(0.05)
                stands = stands + 1 if await area.evaluate(_CARET_STANDS, at) else 0

    async def reads(self) -> str:
        return str(await self.page.locator("#editor").evaluate(_READ))

    async def shapes(self) -> list[str]:
        """The ids of what is drawn."""
        script = """() => {
          const { editor, api } = page.element
          return (editor ? editor.getCurrentPageShapes() : api ? api.getSceneElements() : []).map((it) => it.id).sort()
        }"""
        return list(await self.page.evaluate(script))

    async def others(self) -> list[dict[str, Any]]:
        """The `user` of everybody else who is here."""
        script = """() => [...page.provider.awareness.getStates()]
          .filter(([client]) => client !== page.doc.clientID).map(([, state]) => state.user ?? { name: state.name })"""
        return list(await self.page.evaluate(script))

    async def draws(self, x: int, y: int) -> None:
        """Draw a rectangle from here to a little further down."""
        await self.page.get_by_test_id("tools.rectangle" if self.editor == "tldraw" else "toolbar-rectangle").click(
            force=True
        )
        await self.page.mouse.move(x, y)
        await self.page.mouse.down()
        await self.page.mouse.move(x + 60, y + 40, steps=4)
        await self.page.mouse.up()


Opens = Callable[..., Awaitable[Writer]]
T = TypeVar("T")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Demo]:
    """The pages of all editors, built and served."""
    pages = await asyncio.to_thread(
        build, tmp_path_factory.mktemp("editors"), folder=FOLDER, packages=FOLDER / "node_modules"
    )
    async with running(tmp_path_factory.mktemp("data"), pages=pages) as demo:
        yield demo


@pytest_asyncio.fixture(loop_scope="module")
async def opens(browser: Browser, server: Demo) -> AsyncIterator[Opens]:
    """Opens an editor, each person on a machine of their own; afterwards no page may have met an error."""
    opened: list[Writer] = []

    async def stay_here(route: Route) -> None:
        here = route.request.url.startswith((server.url, "data:", "blob:"))
        await (route.continue_() if here else route.abort())

    async def open_editor(name: str, editor: str, provider: str, *, creator: bool = False) -> Writer:
        context = await browser.new_context(viewport={"width": 1000, "height": 700})
        await context.route("**/*", stay_here)
        writer = Writer(await context.new_page(), name)
        writer.editor = editor
        opened.append(writer)
        query = {"editor": editor, "provider": provider, "name": name, **({"creator": "1"} if creator else {})}
        await writer.page.goto(f"{server.url}?{urlencode(query)}#{editor}.{provider}")
        await writer.has_started()
        return writer

    yield open_editor
    for writer in opened:
        await writer.page.context.close()
    complaints = [complaint for writer in opened for complaint in writer.complaints]
    assert [each for each in complaints if not any(known in each for known in _ASSETS)] == []


async def agree(reads: Callable[[Writer], Awaitable[T]], people: list[Writer], holds: Callable[[T], bool]) -> T:
    """Wait until all see the same, and that this holds for it."""
    seen: list[T] = []
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                seen = [await reads(person) for person in people]
                if all(each == seen[0] for each in seen) and holds(seen[0]):
                    return seen[0]
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"they see {[str(each)[:200] for each in seen]}") from None


async def until(reads: Callable[[], Awaitable[T]], holds: Callable[[T], bool]) -> None:
    """Wait until this holds for what somebody sees."""
    async with asyncio.timeout(PATIENCE):
        while not holds(await reads()):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(("editor", "provider"), TEXTS)
async def test_two_people_write_through_a_cut_and_a_killed_server(
    opens: Opens, server: Demo, editor: str, provider: str
) -> None:
    ada = await opens("Ada", editor, provider, creator=True)
    alan = await opens("Alan", editor, provider)
    people = [ada, alan]

    await ada.writes("Hello from Ada.")
    await agree(Writer.reads, people, lambda text: text == "Hello from Ada.")
    await expect(alan.page.locator(CARETS[editor].format(name="Ada")).first).to_be_attached()
    await alan.writes(" And from Alan.")
    await agree(Writer.reads, people, lambda text: text == "Hello from Ada. And from Alan.")

    await ada.page.context.set_offline(True)
    await ada.writes("[cut]", at="Control+Home")
    await alan.writes("[on]")
    await ada.page.context.set_offline(False)
    together = "[cut]Hello from Ada. And from Alan.[on]"
    await agree(Writer.reads, people, lambda text: text == together)

    await server.kill_everything()
    await alan.writes("[down]")
    await server.start()
    await agree(Writer.reads, people, lambda text: text == f"{together}[down]")
    await ada.writes("Up: ", at="Control+Home")
    text = await agree(Writer.reads, people, lambda text: text == f"Up: {together}[down]")

    grace = await opens("Grace", editor, provider)
    await agree(Writer.reads, [*people, grace], lambda seen: seen == text)


@pytest.mark.parametrize(("editor", "provider"), DRAWINGS)
async def test_two_people_draw_through_a_cut_and_a_killed_server(
    opens: Opens, server: Demo, editor: str, provider: str
) -> None:
    ada = await opens("Ada", editor, provider, creator=True)
    alan = await opens("Alan", editor, provider)
    people = [ada, alan]

    await ada.draws(300, 200)
    await agree(Writer.shapes, people, lambda shapes: len(shapes) == 1)
    await alan.draws(400, 300)
    await agree(Writer.shapes, people, lambda shapes: len(shapes) == 2)

    await ada.page.context.set_offline(True)
    await ada.draws(300, 400)
    await alan.draws(500, 200)
    await ada.page.context.set_offline(False)
    await agree(Writer.shapes, people, lambda shapes: len(shapes) == 4)

    await server.kill_everything()
    await alan.draws(500, 300)
    await server.start()
    await agree(Writer.shapes, people, lambda shapes: len(shapes) == 5)

    grace = await opens("Grace", editor, provider)
    await agree(Writer.shapes, [*people, grace], lambda shapes: len(shapes) == 5)
    assert {client["name"] for client in await grace.others()} == {"Ada", "Alan"}


@pytest.mark.parametrize("provider", ["y-websocket", "hocuspocus"])
async def test_a_large_selection_in_a_drawing_does_not_stop_its_edits(opens: Opens, provider: str) -> None:
    ada = await opens("Ada", "tldraw", provider, creator=True)
    alan = await opens("Alan", "tldraw", provider)
    before = len(await ada.shapes())
    await ada.page.evaluate(
        """() => {
          const { editor } = page.element
          const shapes = Array.from({ length: 150 }, (_, at) => ({ type: "geo", x: at * 8, y: at * 4 }))
          editor.createShapes(shapes).selectAll()
        }"""
    )
    await agree(Writer.shapes, [ada, alan], lambda shapes: len(shapes) == before + 150)
    await ada.page.evaluate("page.element.editor.createShapes([{ type: 'geo', x: 10, y: 600 }])")
    await agree(Writer.shapes, [ada, alan], lambda shapes: len(shapes) == before + 151)


async def test_an_editor_that_cuts_a_character_in_two_goes_on(opens: Opens) -> None:
    ada = await opens("Ada", "lexical", "y-websocket", creator=True)
    alan = await opens("Alan", "lexical", "y-websocket")
    await ada.writes("😀")
    await ada.writes("😃", at="Home")
    await ada.writes(" later", at="End")
    await until(alan.reads, lambda text: text.endswith(" later"))
    await ada.page.reload()
    await ada.has_started()
    await until(ada.reads, lambda text: text.endswith(" later"))
    await ada.writes("!")
    await until(alan.reads, lambda text: text.endswith(" later!"))
