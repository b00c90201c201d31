"""Progress of long work: one line on a terminal, few lines in a log."""

from __future__ import annotations

import io

from collab.server.progress import ProgressReport, how_far, summary
from collab.storage.copying import CopyCounts, CopyProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def progress(documents: int = 0, size: int = 0) -> CopyProgress:
    return CopyProgress(CopyCounts(1200, 3, 4), documents=documents, entities=3, events=2, size=size)


def test_a_terminal_gets_one_line_that_is_rewritten_a_few_times_a_second() -> None:
    stream, now = Terminal(), 0.0
    report = ProgressReport(stream, lambda: now)
    for documents in range(100):
        report.show(how_far(progress(documents)))
        now += 0.01
    shown = stream.getvalue().split("\r\x1b[K")
    assert shown[1] == "0 of 1,200 documents, 3 of 3 entities, 2 of 4 events, 0.0 MiB"
    assert 4 <= len(shown) - 1 <= 6
    assert "\n" not in stream.getvalue()


def test_a_line_that_stays_replaces_the_progress_on_a_terminal() -> None:
    stream = Terminal()
    report = ProgressReport(stream, lambda: 0.0)
    report.show(how_far(progress()))
    report.say("row 1 is damaged")
    report.clear()
    assert stream.getvalue().endswith("MiB\r\x1b[Krow 1 is damaged\n")


def test_a_log_gets_a_plain_line_every_ten_seconds() -> None:
    stream, now = io.StringIO(), 0.0
    report = ProgressReport(stream, lambda: now)
    for second in range(25):
        now = float(second)
        report.show(how_far(progress(second, second * 1024 * 1024)))
    report.clear()
    assert stream.getvalue() == (
        "10 of 1,200 documents, 3 of 3 entities, 2 of 4 events, 10.0 MiB\n"
        "20 of 1,200 documents, 3 of 3 entities, 2 of 4 events, 20.0 MiB\n"
    )


def test_the_summary_tells_what_was_copied() -> None:
    assert summary(progress(1200, 1536 * 1024)) == "1,200 documents, 3 entities and 2 events (1.5 MiB)"
