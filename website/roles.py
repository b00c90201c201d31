"""An extension of griffe: roles of Sphinx in docstrings (``:class:`Text```) become code of Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":[a-z]+:`~?([^`]+)`")


def without_roles(docstring: str) -> str:
    """A docstring with `Text` in place of :class:`Text`."""
    return _ROLE.sub(r"`\1`", docstring)


class Roles(griffe.Extension):
    """Takes the roles out of each docstring."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = without_roles(obj.docstring.value)
