"""Updates of `@y/y` 14.0.0-rc.7: one kind of type for text, marks, values, children and attributes."""

from __future__ import annotations

from pycrdt import XmlFragment

from tests.fuzz.replica import Replica

# a paragraph "hello 😀 world" with a mark and an attribute; a type without a name that holds text, values and a
# type in an attribute; at last half of the character is deleted
LIVE = (
    "0101e682ffb9afd5ca0600070104726f6f74030970617261677261706800",
    "0101e682ffb9afd5ca06010400e682ffb9afd5ca06001068656c6c6f20f09f988020776f726c6400",
    "0102e682ffb9afd5ca060f46e682ffb9afd5ca060104626f6c640474727565c6e682ffb9afd5ca0605e682ffb9afd5ca060604626f6c64046e756c6c00",
    "0101e682ffb9afd5ca06112800e682ffb9afd5ca0600056c6576656c017d0300",
    "0101e682ffb9afd5ca061287e682ffb9afd5ca06000400",
    "0101e682ffb9afd5ca06130800e682ffb9afd5ca0612037701787d01760101617d0100",
    "0101e682ffb9afd5ca061644e682ffb9afd5ca0613047465787400",
    "0101e682ffb9afd5ca061a2700e682ffb9afd5ca0612016b03046e6f746500",
    "0101e682ffb9afd5ca061b0400e682ffb9afd5ca061a07696e206174747200",
    "0001e682ffb9afd5ca06010701",
)
STATE = (
    "010de682ffb9afd5ca0600070104726f6f7403097061726167726170680400e682ffb9afd5ca06000568656c6c6f84e682ff"
    "b9afd5ca0605012081e682ffb9afd5ca06060184e682ffb9afd5ca060709efbfbd20776f726c6446e682ffb9afd5ca060104"
    "626f6c640474727565c6e682ffb9afd5ca0605e682ffb9afd5ca060604626f6c64046e756c6c2800e682ffb9afd5ca060005"
    "6c6576656c017d0387e682ffb9afd5ca0600040800e682ffb9afd5ca0612037701787d01760101617d0144e682ffb9afd5ca"
    "061304746578742700e682ffb9afd5ca0612016b03046e6f74650400e682ffb9afd5ca061a07696e206174747201e682ffb9"
    "afd5ca06010701"
)


def test_text_and_marks_in_nested_types_are_taken_in_as_they_come() -> None:
    live = Replica()
    for update in LIVE:
        revision = live.take(bytes.fromhex(update)).revision
        assert revision is None or not (revision.leaves or revision.refused)
    state = Replica([bytes.fromhex(STATE)])
    for replica in (live, state):
        shown = str(replica.doc.get("root", type=XmlFragment))
        assert shown.startswith('<paragraph level="3">hello \ufffd world</paragraph>text')
        replica.assert_loads_again()
    assert live.gate.state == state.gate.state
