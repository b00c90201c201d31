"""Which worker of pytest-xdist gets which file of tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    import pytest
    from xdist.remote import Producer
    from xdist.workermanage import WorkerController


class BothEnds(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hands out whole files, whose tests share fixtures: to the first worker from the front, to others from the end.

    With the tests of the whole in front, a file that starts processes runs beside one that computes, and the workers
    meet where files are short.
    """

    def __init__(self, config: pytest.Config, log: Producer) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # the number of tests in a file says little about its time

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.split("::", 1)[0]

    def _assign_work_unit(self, node: WorkerController) -> None:
        if node is not self.nodes[0]:
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)
