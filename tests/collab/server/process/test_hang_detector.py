from __future__ import annotations

from collab.server.process.hang_detector import Vigil


def test_a_note_within_its_time_is_no_hang() -> None:
    vigil = Vigil()
    assert not vigil.hangs(None, 100.0, lambda: 0.0)
    assert not vigil.hangs((1, 5.0), 5.0, lambda: 0.0)


def test_a_worker_that_computes_on_past_the_deadline_hangs() -> None:
    vigil = Vigil(grace=0.5)
    assert not vigil.hangs((1, 5.0), 5.1, lambda: 20.0)
    assert not vigil.hangs((1, 5.0), 5.2, lambda: 20.1)
    assert vigil.hangs((1, 5.0), 5.7, lambda: 20.6)


def test_a_worker_that_was_not_let_compute_is_given_more_time() -> None:
    vigil = Vigil(grace=0.5, patience=10.0)
    assert not vigil.hangs((1, 5.0), 100.0, lambda: 20.0)
    assert not vigil.hangs((1, 5.0), 109.0, lambda: 20.4)
    assert vigil.hangs((1, 5.0), 110.0, lambda: 20.4)


def test_every_note_has_its_own_time() -> None:
    vigil = Vigil(grace=0.5)
    assert not vigil.hangs((1, 5.0), 6.0, lambda: 20.0)
    assert not vigil.hangs((3, 5.5), 6.5, lambda: 21.0)
    assert not vigil.hangs(None, 6.6, lambda: 21.0)
    assert not vigil.hangs((3, 5.5), 7.0, lambda: 30.0)


def test_where_the_system_does_not_tell_processor_time_the_clock_decides() -> None:
    vigil = Vigil(grace=0.5)
    assert not vigil.hangs((1, 5.0), 6.0, lambda: None)
    assert not vigil.hangs((1, 5.0), 6.4, lambda: None)
    assert vigil.hangs((1, 5.0), 6.5, lambda: None)


def test_a_worker_without_a_pulse_is_silent_after_so_many_looks() -> None:
    vigil = Vigil(looks=3)
    assert not any(vigil.silent(7) for _ in range(3))
    assert vigil.silent(7)
    assert not vigil.silent(8)
