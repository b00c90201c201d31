"""Rich text that tries to become something else."""

from __future__ import annotations

from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

EVIL = "\"><script>alert(1)</script><img src=x onerror=alert(1)> ' javascript:alert(1)"
ATTRIBUTES = {
    *("href", "src", "alt", "title", "start", "class", "colspan", "rowspan", "data-type", "data-checked"),
}
TAGS = frozenset(
    {
        *("html", "head", "body", "p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote"),
        *("pre", "code", "hr", "br", "img", "table", "tbody", "thead", "tr", "th", "td", "a", "strong", "em", "u"),
        *("s", "sub", "sup", "mark"),
    }
)

VALUES = st.sampled_from([EVIL, "javascript:alert(1)", "data:text/html,a", 1, None, [EVIL], {"a": EVIL}, True])
NAMES = st.sampled_from(
    [
        *("paragraph", "heading", "bulletList", "orderedList", "taskList", "listItem", "taskItem", "blockquote"),
        *(
            "codeBlock",
            "hardBreak",
            "image",
            "table",
            "tableRow",
            "tableCell",
            "tableHeader",
            "mention",
            "iframe",
            EVIL,
        ),
    ]
)
ATTRS = st.dictionaries(
    st.sampled_from(["href", "src", "alt", "title", "level", "start", "language", "checked", "colspan", "label", EVIL]),
    VALUES,
)
MARKS = st.lists(
    st.builds(
        lambda name, attrs: {"type": name, "attrs": attrs},
        st.sampled_from(["link", "bold", "code", "highlight", EVIL]),
        ATTRS,
    ),
    max_size=2,
)
LEAVES = st.builds(lambda marks: {"type": "text", "text": EVIL, "marks": marks}, MARKS)
HOSTILE = st.recursive(
    LEAVES,
    lambda inner: st.builds(
        lambda name, attrs, content: {"type": name, "attrs": attrs, "content": content},
        NAMES,
        ATTRS,
        st.lists(inner, max_size=3),
    ),
    max_leaves=8,
)


def assert_harmless(html: str) -> None:
    """Assert that a browser would see nothing but rich text."""
    root = LexborHTMLParser(html).root
    assert root is not None
    for element in root.traverse():
        assert element.tag in TAGS
        for name, value in element.attributes.items():
            assert name in ATTRIBUTES
            assert name not in ("href", "src") or not str(value).lower().startswith(("javascript:", "data:"))
