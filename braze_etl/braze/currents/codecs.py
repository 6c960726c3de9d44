"""Inflate Avro blocks, never to more than is allowed (Avro specification, required and optional codecs)."""

from __future__ import annotations

import bz2
import lzma
import mmap
from collections.abc import Callable, Mapping
from typing import Protocol

import cramjam
from isal import isal_zlib

_IsalError: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # its stub declares an instance
_XZ_MEMORY = 128 << 20  # xz -9 needs 65 MB
_SNAPPY_HIGHEST_RATIO = 64  # three bytes of a copy give at most 64


class InflateError(Exception):
    """The bytes are no whole output of that codec, or more than the limit when inflated."""


class _Decompressor(Protocol):
    """What zlib, bz2 and lzma have in common after they have run."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...


def inflate(codec: str, data: bytes, limit: int) -> bytes:
    """Return the inflated bytes of a block, at most *limit* of them.

    `InflateError` if the codec can't read all of *data* to its end, or if the result were longer.
    """
    try:
        inflated = CODECS[codec](data, limit)
    except (cramjam.DecompressionError, _IsalError, lzma.LZMAError, OSError, EOFError) as error:
        raise InflateError(f"{codec} can't inflate it: {error}") from error
    if len(inflated) > limit:
        raise InflateError(f"it inflates to more than {limit} bytes")
    return inflated


def _null(data: bytes, _limit: int) -> bytes:
    return data


def _deflate(data: bytes, limit: int) -> bytes:
    stream = isal_zlib.decompressobj(wbits=-15)
    inflated = stream.decompress(data, limit + 1)
    # fastavro cuts its blocks out of zlib's format, and leaves three of the four bytes of the checksum.
    allowed = isal_zlib.adler32(inflated).to_bytes(4, "big") if stream.unused_data else b""
    _check_end(stream, len(inflated), limit, allowed)
    return inflated


def _bzip2(data: bytes, limit: int) -> bytes:
    stream = bz2.BZ2Decompressor()
    inflated = stream.decompress(data, limit + 1)
    _check_end(stream, len(inflated), limit)
    return inflated


def _xz(data: bytes, limit: int) -> bytes:
    stream = lzma.LZMADecompressor(memlimit=_XZ_MEMORY)
    inflated = stream.decompress(data, limit + 1)
    _check_end(stream, len(inflated), limit)
    return inflated


def _check_end(stream: _Decompressor, length: int, limit: int, allowed: bytes = b"") -> None:
    if length > limit:
        return  # it was stopped, and is refused for that
    if not stream.eof:
        raise InflateError("its data breaks off")
    if not allowed.startswith(stream.unused_data):
        raise InflateError(f"{len(stream.unused_data)} bytes follow its data")


def _snappy(data: bytes, limit: int) -> bytes:
    packed, checksum = data[:-4], data[-4:]
    length = cramjam.snappy.decompress_raw_len(packed)
    if length > min(limit, _SNAPPY_HIGHEST_RATIO * len(packed)):
        raise InflateError(f"{len(packed)} bytes claim to inflate to {length}")
    inflated = bytes(cramjam.snappy.decompress_raw(packed))
    if isal_zlib.crc32(inflated).to_bytes(4, "big") != checksum:
        raise InflateError("its checksum is wrong")
    return inflated


def _zstandard(data: bytes, limit: int) -> bytes:
    # A frame need not tell its length. An anonymous mapping takes memory only where it is written to.
    with mmap.mmap(-1, limit + 1) as output:
        length = cramjam.zstd.decompress_into(data, output)
        return output[:length]


CODECS: Mapping[str, Callable[[bytes, int], bytes]] = {
    "null": _null,
    "deflate": _deflate,
    "snappy": _snappy,
    "zstandard": _zstandard,
    "bzip2": _bzip2,
    "xz": _xz,
}
"""By the name in a file's `avro.codec`."""
