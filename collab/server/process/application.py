"""Loads the ``Collab`` of an application's module, ``module:attribute``, for a worker."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Mapping
from inspect import isfunction
from typing import Any

from collab.access.handshake import is_loopback
from collab.nearest import did_you_mean
from collab.records.declaration import CollectionDeclaration
from collab.server.app import Collab
from collab.server.config.settings import Settings, given
from collab.server.supervision import Supervision, offering

log = logging.getLogger(__name__)


class ApplicationError(Exception):
    """The application cannot be loaded. The message is for its author."""


def load(name: str, settings: Settings, supervision: Supervision) -> Collab:
    """Import ``module:attribute`` and return its ``Collab``, or the one that a function of that name returns.

    Within it, :meth:`Settings.from_env` returns ``settings``. Raises :class:`ApplicationError`.
    """
    with given(settings) as reading, offering(supervision) as offer:
        app = _made(name)
    if not offer.taken or not app.is_supervised:
        raise ApplicationError(f"{name}: the module must create this Collab, and before any other")
    if not reading.done:
        log.warning("%s does not read the settings of this command: Settings.from_env() does", name)
    if app.admission.is_open and not app.settings.open and not is_loopback(settings.host):
        raise ApplicationError(f"{settings.host} can be reached from outside, but {name} asks for no credentials")
    return app


def declared_by(name: str, settings: Settings) -> Mapping[str, CollectionDeclaration]:
    """The declared collections of the ``Collab`` that :func:`load` would load. Raises :class:`ApplicationError`."""
    with given(settings):
        return _made(name).settings.collections


def _made(name: str) -> Collab:
    app = _find(name)
    if isfunction(app):
        app = _called(name, app)
    if not isinstance(app, Collab):
        raise ApplicationError(f"{name} is a {type(app).__name__}, not a Collab: name the Collab that it mounts")
    return app


def _find(name: str) -> Any:
    module, colon, path = name.partition(":")
    if not (module and colon and path):
        raise ApplicationError(f"{name}: must be like module:attribute")
    folder = os.getcwd()
    if folder not in sys.path and "" not in sys.path:
        sys.path.insert(0, folder)
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise ApplicationError(f"{module} cannot be imported: there is no module {error.name}") from error
        raise ApplicationError(f"there is no module {error.name} (in {folder})") from None
    except Exception as error:
        raise ApplicationError(f"{module} cannot be imported: {type(error).__name__}: {error}") from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise ApplicationError(f"{module} has no attribute {part}{did_you_mean(part, dir(found))}")
        found = getattr(found, part)
    return found


def _called(name: str, make: Any) -> Any:
    try:
        return make()
    except Exception as error:
        raise ApplicationError(f"{name}() failed: {type(error).__name__}: {error}") from error
