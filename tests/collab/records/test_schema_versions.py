"""Nodes with different declarations may start in any order: versions do not go back and forth."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collab.records.schema_versions import SavedSchema, decide, digest_of, read_saved, write_saved

texts = st.sampled_from([b'{"a":1}', b'{"b":2}', b'{"c":3}'])
indexes = st.sampled_from([[], [(("status",),)], [(("status",), ("createdAt",))]])
starts = st.lists(st.tuples(texts, indexes), max_size=60)


@given(starts)
def test_each_declaration_is_saved_once_however_often_nodes_start_with_it(
    history: list[tuple[bytes, list[tuple[tuple[str, ...], ...]]]],
) -> None:
    saved = SavedSchema()
    versions: dict[str, int] = {}
    for fingerprint, listed in history:
        digest = digest_of(fingerprint, listed)
        decision = decide(saved, fingerprint, digest, others=True)
        assert (decision.saved is not None) == (digest not in versions)
        assert decision.version == versions.setdefault(digest, decision.version)
        if decision.saved is not None:
            assert decision.version - saved.version == (fingerprint != saved.fingerprint)
            saved = read_saved(decision.version, write_saved(decision.saved))
            assert saved == decision.saved
    assert saved.version <= len(versions)


@given(starts)
def test_a_process_alone_makes_its_declaration_the_newest(
    history: list[tuple[bytes, list[tuple[tuple[str, ...], ...]]]],
) -> None:
    saved = SavedSchema()
    for fingerprint, listed in history:
        decision = decide(saved, fingerprint, digest_of(fingerprint, listed), others=False)
        assert decision.newest
        assert decision.version == saved.version + (fingerprint != saved.fingerprint)
        saved = decision.saved or saved
        assert saved.fingerprint == fingerprint
        assert len(saved.editions) <= 32


@given(st.binary(max_size=100))
def test_whatever_was_saved_can_be_read(content: bytes) -> None:
    saved = read_saved(3, content)
    assert saved.version == 3
    assert content.startswith(saved.fingerprint)
