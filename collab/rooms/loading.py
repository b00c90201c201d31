"""Loading a document from its record: the snapshot, and the log rows behind it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from time import time
from typing import Any

import pycrdt

from collab.access.price import charge
from collab.errors import Unavailable
from collab.gate.gate import Gap, Gate
from collab.gate.replay import Replay
from collab.gate.struct_content import Malformed
from collab.names import RoomKey
from collab.rooms.blackbox import BlackBox
from collab.rooms.live.compaction import LogSize
from collab.rooms.live.quarantine import ENDED_A_WORKER
from collab.rooms.live.ring import RoomOptions
from collab.rooms.stint import Stint
from collab.storage.base import Record, SetAside


@dataclass(slots=True)
class Loaded:
    """A document and its gate, in the same state. ``seq`` is its newest log row, ``size`` the size of its record."""

    doc: pycrdt.Doc[Any]
    gate: Gate
    seq: int = 0
    size: LogSize = field(default_factory=LogSize)


class Loader:
    """Loads documents. ``set_aside`` gets the rows that cannot be read."""

    def __init__(self, options: RoomOptions, blackbox: BlackBox, set_aside: Callable[[SetAside], None]) -> None:
        self._options = options
        self._blackbox = blackbox
        self._set_aside = set_aside

    async def load(self, key: RoomKey, record: Record | None, mapped: Collection[str], client_id: int) -> Loaded:
        """Load a document, serving others between its rows. The caller is charged for the time.

        Raises :class:`Unavailable` if the CRDT library refuses a row, which is then quarantined.
        """
        loaded = await self._load(key, record, mapped, client_id)
        charge(loaded.size.snapshot_seconds + loaded.size.seconds)
        return loaded

    async def _load(self, key: RoomKey, record: Record | None, mapped: Collection[str], client_id: int) -> Loaded:
        doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=client_id, skip_gc=self._options.keeps_deleted(key.collection))
        loaded = Loaded(doc, Gate(mapped))
        if record is None:
            return loaded
        size = loaded.size = LogSize.of(record)
        stint = Stint()
        replay = Replay()
        if record.snapshot is not None:
            loaded.gate = Gate.of_snapshot(record.snapshot.update, record.snapshot.index, mapped)
            loaded.seq = record.snapshot.seq
            replay = Replay([record.snapshot.update])
            size.snapshot_seconds = stint.spent()
        gate = loaded.gate
        seqs: list[int] = []
        for row in record.rows:
            try:
                checked = gate.check_all(row.update)
            except (Malformed, Gap) as error:
                # depends on a row that was set aside; live replicas will send it again
                self._set_aside(SetAside(key, row.seq, row.update, f"does not apply: {error}", time()))
                continue
            gate.commit(checked)
            replay.add(checked)
            seqs.append(row.seq)
            size.parts += checked.parts
            size.seconds += await stint.pause_if_due()
        updates = replay.updates()
        size.seconds += stint.spent()
        if record.snapshot is not None:
            self._apply(doc, key, updates.pop(0), loaded.seq)
            size.snapshot_seconds += stint.spent()
        for seq, update in zip(seqs, updates, strict=True):
            self._apply(doc, key, update, seq)
            loaded.seq = seq
            size.seconds += await stint.pause_if_due()
        size.seconds += stint.spent()
        return loaded

    def _apply(self, doc: pycrdt.Doc[Any], key: RoomKey, update: bytes, seq: int) -> None:
        seconds = 5.0 * (1 + len(update) / (4 * 1024 * 1024))
        self._blackbox.begin(key, update, seconds, seq)
        try:
            doc.apply_update(update)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # yrs panics arrive as PanicException, which is no Exception
            self._set_aside(SetAside(key, seq, update, f"{ENDED_A_WORKER}: {error!r}", time()))
            raise Unavailable("the document could not be loaded; retry") from error
        finally:
            self._blackbox.end()
