"""Which projects have a sum of their own among the metrics of a server. Pure."""

from __future__ import annotations

OTHER_PROJECTS = "*other*"
"""Stands for all projects beyond the first ones."""
MOST_NAMED = 100


class ProjectNames:
    """Names the first ``most`` projects that are asked for; the others share a name.

    First come is never taken away: a sum that changed its name would fall, and no counter may.
    """

    __slots__ = ("_most", "_named")

    def __init__(self, most: int = MOST_NAMED) -> None:
        self._most = most
        self._named: set[str] = set()

    def of(self, project: str | None) -> str:
        """The name of a project; empty for work before authentication."""
        if not project:
            return ""
        if project not in self._named:
            if len(self._named) >= self._most:
                return OTHER_PROJECTS
            self._named.add(project)
        return project
