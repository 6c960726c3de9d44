"""Files that a project's names are read from: a taxonomy as CSV, or exported events, packed or not.

The Export API answers with a zip of gzip files, one event a line (amplitude.md, 5.1). What a file is shows in
its first bytes; events are read one at a time, so that memory is flat.
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final, TypeAlias

import orjson

from braze_etl.errors import UsageError
from braze_etl.run.tracking.taxonomy import read_taxonomy
from braze_etl.run.tracking.theirs import Theirs

_Stream: TypeAlias = io.BufferedReader | gzip.GzipFile | zipfile.ZipExtFile

_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\x03\x04"
_EMPTY_ZIP: Final = b"PK\x05\x06"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_LAYERS: Final = 2
"""A zip of gzip files; archives that hold themselves would be unpacked for ever."""
_DAMAGED: Final = (EOFError, OSError, zlib.error, zipfile.BadZipFile, UnicodeDecodeError)
_EXPECTED: Final = {
    ".zip": "a zip of exported events",
    ".gz": "a gzip file",
    ".json": "events in JSON, one on each line",
}
"""What a file is by its name, where its first bytes do not show it."""
_SHOWN: Final = 20
"""Bytes that tell what a file is, and that an error text quotes."""
_REMEDY: Final = (
    "Name a taxonomy as Amplitude exports it (.csv), or files of the Export API (.zip, .json.gz, .json)."
)


def read_theirs(paths: Iterable[Path]) -> Theirs:
    """Read all files together; `UsageError` names the one that can't be read, and what is wrong with it."""
    theirs = Theirs()
    for path in paths:
        try:
            with path.open("rb") as stream:
                _read(stream, str(path), theirs)
        except _DAMAGED as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise UsageError(f"{path} can't be read: {reason}", remedy=_REMEDY) from None
    return theirs


def _read(stream: _Stream, name: str, theirs: Theirs, layers: int = 0) -> None:
    begin = stream.peek(_SHOWN)[:_SHOWN]
    if begin.startswith((_ZIP, _GZIP)):
        if layers == _LAYERS:
            raise UsageError(f"{name} is packed more than {_LAYERS} times", remedy=_REMEDY)
        _unpack(stream, name, theirs, layers + 1, is_zip=begin.startswith(_ZIP))
    elif begin.removeprefix(_BYTE_ORDER_MARK).lstrip().startswith(b"{"):
        _read_events(stream, name, theirs)
    else:
        expected = _EXPECTED.get(Path(name.removesuffix(".gz") if layers else name).suffix.lower())
        if expected is not None:
            raise UsageError(f"{name} should be {expected}, but {_found(begin)}", remedy=_REMEDY)
        read_taxonomy(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""), name, theirs)


def _found(begin: bytes) -> str:
    if not begin:
        return "is empty"
    if begin.startswith(_EMPTY_ZIP):
        return "is a zip file with nothing in it"
    is_text = all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in begin)
    return f"begins with {begin.decode()!r}" if is_text else f"begins with the bytes {begin.hex(' ')}"


def _unpack(stream: _Stream, name: str, theirs: Theirs, layers: int, *, is_zip: bool) -> None:
    if not is_zip:
        with gzip.GzipFile(fileobj=stream) as inner:
            _read(inner, name, theirs, layers)
        return
    with zipfile.ZipFile(stream) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                with archive.open(member) as part:
                    _read(_member(part), f"{name}, {member.filename}", theirs, layers)


def _member(part: object) -> zipfile.ZipExtFile:
    assert isinstance(part, zipfile.ZipExtFile)  # the stubs promise less
    return part


def _read_events(lines: Iterable[bytes], name: str, theirs: Theirs) -> None:
    for number, line in enumerate(lines, 1):
        text = line.removeprefix(_BYTE_ORDER_MARK).strip()
        if not text:
            continue
        try:
            event = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise UsageError(f"{name}: line {number} is no JSON: {error}", remedy=_REMEDY) from None
        if not isinstance(event, dict) or "event_type" not in event:
            raise UsageError(f"{name}: line {number} is no event: it has no event_type", remedy=_REMEDY)
        theirs.observe(event)
