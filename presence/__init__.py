"""Presence of people in rooms, on Yjs awareness. It imports nothing of ``collab`` and can be used alone.

:class:`Awareness` holds who is in one room; :mod:`presence.roster` groups them into people and computes differences.
"""

from presence import roster
from presence.awareness import Awareness, Change
from presence.lib0 import DecodeError
from presence.state import State, StateTooLargeError, User

__all__ = ["Awareness", "Change", "DecodeError", "State", "StateTooLargeError", "User", "roster"]
