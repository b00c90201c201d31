"""Apply the steps from one list of rows to the next, as a client does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from collab.errors import InvalidRequest
from collab.wire.realtime.values import Step


def apply_steps(rows: Sequence[dict[str, Any]], steps: Iterable[Step]) -> list[dict[str, Any]]:
    """Return the rows after ``steps``. ``rows`` is not modified; unchanged rows are the same objects.

    Raises :class:`InvalidRequest` for a step that does not fit these rows: then the list is not the one that the server
    computed the steps for, and must be read again.
    """
    after = list(rows)
    ids = [row["id"] for row in after]
    for step in steps:
        if step.op == "enter":
            if step.data is None or step.data.get("id") != step.id or step.id in ids:
                raise _misfit(step)
            at = _place(step, len(after))
            after.insert(at, step.data)
            ids.insert(at, step.id)
            continue
        try:
            at = ids.index(step.id)
        except ValueError:
            raise _misfit(step) from None
        if step.op == "change":
            row = {**after[at], **(step.set or {})}
            for member in step.unset or ():
                row.pop(member, None)
            if row.get("id") != step.id:
                raise _misfit(step)
            after[at] = row
        else:
            row = after.pop(at)
            del ids[at]
            if step.op == "move":
                at = _place(step, len(after))
                after.insert(at, row)
                ids.insert(at, step.id)
    return after


def _place(step: Step, length: int) -> int:
    if step.index is None or not 0 <= step.index <= length:
        raise _misfit(step)
    return step.index


def _misfit(step: Step) -> InvalidRequest:
    return InvalidRequest(f"the step {step.op!r} of row {step.id!r} does not fit these rows")
