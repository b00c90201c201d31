"""The Collab of a node whose CRDT library ends the worker on certain words, for ``collab serve --app``."""

from __future__ import annotations

from collab import Collab, Settings
from tests.chaos.doomed import doom

doom()
collab = Collab(Settings.from_env())
