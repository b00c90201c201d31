import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence.lib0 import (
    MAX_UINT,
    DecodeError,
    encode_bytes,
    encode_string,
    encode_uint,
    read_bytes,
    read_string,
    read_uint,
)

uints = st.integers(0, MAX_UINT)
texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(uints, st.binary(max_size=4), st.binary(max_size=4))
def test_a_number_is_read_as_it_was_written_wherever_it_stands(n: int, before: bytes, behind: bytes) -> None:
    encoded = encode_uint(n)
    assert read_uint(before + encoded + behind, len(before)) == (n, len(before) + len(encoded))


@given(st.binary(max_size=300), st.binary(max_size=4))
def test_bytes_are_read_as_they_were_written(raw: bytes, behind: bytes) -> None:
    encoded = encode_bytes(raw)
    assert read_bytes(encoded + behind, 0) == (raw, len(encoded))


@given(texts)
def test_a_string_is_read_as_it_was_written(text: str) -> None:
    encoded = encode_string(text)
    assert read_string(encoded, 0) == (text, len(encoded))


@pytest.mark.parametrize(
    ("n", "encoded"),
    [
        (0, "00"),
        (127, "7f"),
        (128, "8001"),
        (300, "ac02"),
        (2**28 - 1, "ffffff7f"),
        (2**28, "8080808001"),
        (2**32 - 1, "ffffffff0f"),
        (2**35 - 1, "ffffffff7f"),
        (2**35, "808080808001"),
        (MAX_UINT, "ffffffffffffff0f"),
    ],
)
def test_numbers_are_written_as_lib0_writes_them(n: int, encoded: str) -> None:
    assert encode_uint(n).hex() == encoded


@given(st.binary(max_size=40), st.integers(0, 45))
def test_any_bytes_give_a_value_within_them_or_a_decode_error(data: bytes, pos: int) -> None:
    for read in (read_uint, read_bytes, read_string):
        try:
            _, end = read(data, pos)
        except DecodeError:
            continue
        assert pos < end <= len(data)


@given(st.binary(min_size=1, max_size=200), st.data())
def test_a_message_cut_anywhere_is_refused(raw: bytes, data: st.DataObject) -> None:
    encoded = encode_bytes(raw)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(DecodeError):
        read_bytes(encoded[:cut], 0)


@pytest.mark.parametrize("filler", [b"\x80", b"\xff"])
def test_a_number_of_a_megabyte_is_refused_after_eight_bytes(filler: bytes) -> None:
    class Counting(bytes):
        reads = 0

        def __getitem__(self, index: int) -> int:  # type: ignore[override]
            Counting.reads += 1
            return super().__getitem__(index)

    with pytest.raises(DecodeError):
        read_uint(Counting(filler * 1_000_000), 0)
    assert Counting.reads <= 8


def test_a_length_beyond_the_message_allocates_nothing() -> None:
    with pytest.raises(DecodeError):
        read_bytes(encode_uint(MAX_UINT) + b"x", 0)


@pytest.mark.parametrize("data", ["ffffffffffffff10", "ffffffffffffff7f", "ffffffffffffffff01"])
def test_numbers_that_javascript_cannot_hold_are_refused(data: str) -> None:
    with pytest.raises(DecodeError):
        read_uint(bytes.fromhex(data), 0)


@pytest.mark.parametrize("n", [-1, MAX_UINT + 1])
def test_numbers_that_javascript_cannot_hold_are_not_written(n: int) -> None:
    with pytest.raises(ValueError, match="not in 0"):
        encode_uint(n)


@pytest.mark.parametrize("raw", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"])
def test_a_string_that_is_not_strict_utf_8_is_refused(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        read_string(encode_bytes(raw), 0)


def test_a_lone_surrogate_is_not_written() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        encode_string("\ud800")
