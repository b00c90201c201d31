"""Collab inside a Django project: users of its sessions, and one ASGI application with it. See docs/django.md."""

from typing import TYPE_CHECKING

from collab.lazy import attributes as _attributes

if TYPE_CHECKING:
    from collab.django.apps import get_collab
    from collab.django.asgi import with_collab
    from collab.django.sessions import SessionHooks

__all__ = ["SessionHooks", "get_collab", "with_collab"]

_HOME = {
    "SessionHooks": "collab.django.sessions",
    "get_collab": "collab.django.apps",
    "with_collab": "collab.django.asgi",
}


def __dir__() -> list[str]:
    return __all__


if not TYPE_CHECKING:
    __getattr__ = _attributes(__name__, _HOME)
