"""What a node shows of itself.

Apart from :mod:`.inspection`, because a server alone has none of a cluster's packages.
"""

from __future__ import annotations

from typing import NamedTuple


class NodeView(NamedTuple):
    """What a node shows, as JSON; or why it shows nothing."""

    node: int
    found: bytes | None
    failure: str | None = None
