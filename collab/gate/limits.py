"""Limits for the parts of an update: far above real documents, below what harms a replica.

An element beyond a limit is refused alone; the edit and the session survive (:mod:`collab.gate.revision`).
"""

from __future__ import annotations

from typing import NamedTuple

from presence.lib0 import MAX_UINT

MAX_CLIENT = MAX_UINT
"""Largest client id: JavaScript's largest safe integer."""
MAX_CLOCK = 2**31 - 1
"""No clock reaches this: Yrs computes clocks in signed 32 bits."""
MAX_VALUE_DEPTH = 100
"""Nesting of arrays and objects inside one plain value. The JSON reader of Yrs fails at 128."""
MAX_TYPE_DEPTH = 256
"""Nesting of types: all readers recurse through them. Yjs overflows the stack of Node at some 300 to 500."""
MAX_PARTS = 500_000
"""Structs and deletions of one update: reading as many takes about a second and up to 200 MB."""
AT_ONCE_BYTES = 256 * 1024
"""Bytes that the event loop reads at once. 15 MB in one struct take a second: a thread reads those."""
MAX_ROOTS = 65_536
"""Root types of one document."""
MAX_KEY_BYTES = 4096
"""Size of the key of a map, an attribute or a format, in UTF-8."""
MAX_NAME_BYTES = 1024
"""Size of the name of a root type or an XML element, in UTF-8."""


class StepLimit(NamedTuple):
    """How much of an update may be applied in one step.

    ``parts`` are structs and deletions, ``scans`` the passes through the whole document that they may take
    (:mod:`collab.gate.scans`).
    """

    parts: int
    scans: int
