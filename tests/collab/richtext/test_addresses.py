"""Addresses that run something are none."""

from __future__ import annotations

import pytest

from collab.richtext.addresses import safe_image, safe_link

PICTURE = "data:image/png;base64,iVBORw0KGgo="


@pytest.mark.parametrize(
    "address",
    ["https://a.b/c?d=e:f#g", "http://a", "/a:b", "a/b:c", "?a:b", "#a:b", "//a.b/c", "mailto:a@b.c", "tel:+1", "é"],
)
def test_addresses_of_the_web_and_relative_ones_are_safe(address: str) -> None:
    assert safe_link(address) == address
    assert safe_link(f" {address}\n") == address


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "JAVASCRIPT:alert(1)",
        " \x01javascript:alert(1)",
        "java\nscript:alert(1)",
        "java\tscript:alert(1)",
        "jav\u200bascript:alert(1)",
        "javascript\n:alert(1)",
        "vbscript:a",
        "data:text/html,<script>alert(1)</script>",
        "data:image/svg+xml;base64,PHN2Zz4=",
        "file:///etc/passwd",
        "blob:https://a/b",
        "",
        None,
        1,
        ["https://a"],
    ],
)
def test_other_addresses_are_not(address: object) -> None:
    assert safe_link(address) is None
    assert safe_image(address) is None


def test_an_image_may_be_a_picture_itself_and_a_link_may_not() -> None:
    assert safe_image(PICTURE) == PICTURE
    assert safe_link(PICTURE) is None
    assert safe_image("mailto:a@b.c") is None
    assert safe_image("https://a/b.png") == "https://a/b.png"
