"""The Collab of a node whose CRDT library ends the worker on certain words, for ``collab serve --app``.

While there is a file ``slow`` in its folder, a worker does not start.
"""

from __future__ import annotations

from pathlib import Path
from time import sleep

from collab import Collab, Settings
from tests.chaos.doomed import doom

while Path("slow").exists():
    sleep(0.05)
doom()
collab = Collab(Settings.from_env())
