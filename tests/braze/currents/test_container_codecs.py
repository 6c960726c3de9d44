from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable

import cramjam
import pytest

from braze_etl.braze.currents.container import CODECS, InflateError, inflate

TEXT = b"some text, some text, some more text" * 20


def _deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    return stream.compress(data) + stream.flush()


def _snappy(data: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(data)) + zlib.crc32(data).to_bytes(4, "big")


PACK: dict[str, Callable[[bytes], bytes]] = {
    "deflate": _deflate,
    "snappy": _snappy,
    "zstandard": lambda data: bytes(cramjam.zstd.compress(data)),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


@pytest.mark.parametrize("codec", PACK)
def test_what_was_packed_is_inflated(codec: str) -> None:
    assert inflate(codec, PACK[codec](TEXT), 10_000) == TEXT
    assert inflate(codec, PACK[codec](TEXT), len(TEXT)) == TEXT


@pytest.mark.parametrize("codec", PACK)
def test_a_bomb_stops_at_the_limit(codec: str) -> None:
    bomb = PACK[codec](bytes(64 << 20))
    with pytest.raises(InflateError):
        inflate(codec, bomb, 1 << 20)


@pytest.mark.parametrize("codec", PACK)
def test_one_byte_over_the_limit_is_too_much(codec: str) -> None:
    with pytest.raises(InflateError):
        inflate(codec, PACK[codec](TEXT), len(TEXT) - 1)


@pytest.mark.parametrize("codec", PACK)
def test_data_that_breaks_off_is_refused(codec: str) -> None:
    packed = PACK[codec](TEXT)
    for length in range(len(packed)):
        with pytest.raises(InflateError):
            inflate(codec, packed[:length], 10_000)


@pytest.mark.parametrize("codec", PACK)
def test_bytes_behind_the_data_are_refused(codec: str) -> None:
    with pytest.raises(InflateError):
        inflate(codec, PACK[codec](TEXT) + b"more", 10_000)


def test_what_fastavro_leaves_of_a_checksum_is_checked() -> None:
    packed = zlib.compress(TEXT)[2:-1]
    assert inflate("deflate", packed, 10_000) == TEXT
    with pytest.raises(InflateError, match="3 bytes follow"):
        inflate("deflate", packed[:-1] + bytes([packed[-1] ^ 1]), 10_000)


def test_a_wrong_checksum_is_told() -> None:
    packed = _snappy(TEXT)
    with pytest.raises(InflateError, match="checksum"):
        inflate("snappy", packed[:-1] + bytes([packed[-1] ^ 1]), 10_000)


def test_a_claimed_length_is_not_believed() -> None:
    with pytest.raises(InflateError, match="claim"):
        inflate("snappy", b"\xff\xff\xff\xff\x0f" + b"x" * 10, 1 << 40)


def test_a_plain_block_is_bounded_too() -> None:
    with pytest.raises(InflateError, match="more than 3 bytes"):
        inflate("null", b"1234", 3)
    assert set(CODECS) == {"null", *PACK}
