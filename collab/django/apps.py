"""The Django app: reads ``settings.COLLAB``, holds the project's ``Collab``, and follows logins and logouts."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future
from time import time
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from collab.access.rules import check_rules
from collab.django.sessions import SINCE, SessionHooks, name_of_session
from collab.hooks import Hooks
from collab.server.app import Collab
from collab.server.config.settings import Settings

log = logging.getLogger(__name__)

_OURS = ("hooks", "path", "rules")
_LOGOUT_SECONDS = 60.0
"""How long the end of a Django session is remembered: Django itself refuses it from then on."""


class CollabConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    """``INSTALLED_APPS = [..., "collab.django"]``.

    ``COLLAB`` in the settings has the members ``path`` (``"/collab"``), ``hooks`` (the import path of a class,
    ``"collab.django.SessionHooks"``), ``rules`` (of each user who is logged in), and any settings of the server.
    """

    name = "collab.django"
    label = "collab"
    verbose_name = "Lumenize Collab"

    _collab: Collab | None = None
    _loop: asyncio.AbstractEventLoop | None = None

    def ready(self) -> None:
        """Check the settings, and follow logins and logouts."""
        self.read()
        user_logged_in.connect(_logged_in, dispatch_uid="collab")
        user_logged_out.connect(self._logged_out, dispatch_uid="collab")

    def read(self) -> dict[str, Any]:
        """Return ``settings.COLLAB`` with its defaults. Raises :class:`ImproperlyConfigured`."""
        said = getattr(settings, "COLLAB", {})
        if not isinstance(said, dict):
            raise ImproperlyConfigured("COLLAB must be a dict")
        read: dict[str, Any] = {"path": "/collab", "hooks": "collab.django.SessionHooks", "rules": {}} | said
        if not (isinstance(read["path"], str) and read["path"].startswith("/") and len(read["path"]) > 1):
            raise ImproperlyConfigured('COLLAB["path"] must be a path like "/collab"')
        try:
            check_rules(read["rules"])
            Settings.from_env(**{name: value for name, value in read.items() if name not in _OURS})
        except (ValueError, TypeError) as error:
            raise ImproperlyConfigured(f"COLLAB: {error}") from None
        return read

    @property
    def path(self) -> str:
        """Where the server is mounted."""
        return str(self.read()["path"]).rstrip("/")

    @property
    def collab(self) -> Collab:
        """The server of this process."""
        if self._collab is None:
            self._collab = self.make()
        return self._collab

    def make(self) -> Collab:
        """Create the server of this process, in place of an earlier one."""
        read = self.read()
        kind = import_string(read["hooks"])
        if not (isinstance(kind, type) and issubclass(kind, Hooks)):
            raise ImproperlyConfigured(f'COLLAB["hooks"]: {read["hooks"]} is not a subclass of collab.Hooks')
        hooks = kind(read["rules"]) if issubclass(kind, SessionHooks) else kind()
        values = {name: value for name, value in read.items() if name not in _OURS}
        self._collab = Collab(Settings.from_env(**values), hooks=hooks)
        return self._collab

    def started(self, collab: Collab) -> None:
        """This server has started, in the running event loop."""
        self._collab, self._loop = collab, asyncio.get_running_loop()

    def stopped(self) -> None:
        """The server is about to stop."""
        self._loop = None

    def _logged_out(self, request: Any, **said: Any) -> None:
        """End what was opened with a Django session that ends. Called in any thread."""
        key = getattr(getattr(request, "session", None), "session_key", None)
        if key is None or self._loop is None or self._collab is None:
            return
        ending = self._collab.revoke(token_id=name_of_session(key), seconds=_LOGOUT_SECONDS)
        asyncio.run_coroutine_threadsafe(ending, self._loop).add_done_callback(_told)


def get_collab() -> Collab:
    """Return the server of this process."""
    config = apps.get_app_config("collab")
    assert isinstance(config, CollabConfig)
    return config.collab


def _logged_in(request: Any, **said: Any) -> None:
    request.session[SINCE] = time()


def _told(ending: Future[None]) -> None:
    if not ending.cancelled() and (error := ending.exception()) is not None:
        log.error("could not end the sessions of a user who has logged out: %s", error)
