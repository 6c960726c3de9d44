"""The people that a mapping asks for: whose events are not sent (the suppress list), and the look-up table.

The list holds ids, plain or hashed, one on a line; its copy (see `IdCache`) has 16 bytes of a hash of each.
"""

from __future__ import annotations

import io
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final

from braze_etl.errors import ConfigError, StoreError, UsageError
from braze_etl.mapping.id_cache import IdCache, cache_folder, connect, write_rows
from braze_etl.mapping.identity import People
from braze_etl.mapping.lookup import REMEMBERED, LookupColumns, open_lookup
from braze_etl.mapping.settings import MappingSection
from braze_etl.storage.opening import Located, locate
from braze_etl.storage.settings import StoreAccess

_SIZE: Final = 16
_FILTER_LEAST, _FILTER_MOST = 10, 24
"""Logarithms of bytes: 1 KB to 16 MB, and 16 bits an id and more in between."""

_MARK: Final = "sha256:"
_HASH: Final = re.compile(r"(?P<mark>sha256:)?(?P<digest>[0-9a-fA-F]{64})")
_QUOTED: Final = re.compile(r'"((?:[^"]|"")*)"')
_NO_TEXT: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_LONGEST: Final = 1024
"""Characters; Amplitude cuts a longer id (amplitude.md, 1.4), so that nobody can be known by it."""
_SHOWN: Final = 5


def load_people(mapping: MappingSection, access: StoreAccess) -> People:
    """Read the lists and tables that a mapping names, by the *access* of the source.

    Both stay open as long as they are used. Errors are those of `load_suppression` and `open_lookup`.
    """
    privacy, lookup = mapping.privacy, mapping.identity.lookup
    salt = privacy.salt.get_secret_value()
    people = People(suppressed=load_suppression(privacy.suppress, access, salt) if privacy.suppress else None)
    if lookup is None:
        return people
    # Asked for before it is opened: of a table that is replaced in between, the older version is noted, and
    # what was judged by it is never compared, rather than compared with another content.
    version = locate("look-up table", lookup.uri, access).version()
    columns = LookupColumns(lookup.table, lookup.key_column, lookup.value_column)
    table = open_lookup(lookup.uri, access, columns)
    return replace(people, table=table, key=lookup.key, missing=lookup.missing, table_version=version)


def load_suppression(
    uri: str, access: StoreAccess, salt: str = "", cache: IdCache | None = None
) -> Suppression:
    """Open the suppress list that *uri* (a path, `file:///path`, `s3://bucket/key`) names, by its copy.

    `ConfigError` for a list that is not there, or has lines that are no entry; `StoreError` for one that
    can't be reached, or copied. In none of these cases may anything be sent.
    """
    source, cache = locate("suppress list", uri, access), cache or IdCache(cache_folder())
    return Suppression(cache.of(source, "", partial(_copy, source, uri)), salt)


def check_suppression(uri: str, access: StoreAccess) -> None:
    """Read a suppress list and keep nothing of it; errors are those of `load_suppression`."""
    with locate("suppress list", uri, access).reading() as stream:
        for _ in _List(uri).digests(stream):
            pass


def add_to_list(uri: str, entry: str) -> None:
    """Write an entry at the end of a suppress list on this machine; `UsageError` for one in S3.

    `StoreError` where it may not be written.
    """
    located = locate("suppress list", uri, StoreAccess())
    if located.path is None:
        raise UsageError(
            f"the suppress list {uri} is not on this machine",
            remedy=f"Add this line to it: {entry}",
        )
    try:
        text = located.path.read_bytes()
        with located.path.open("ab") as file:
            file.write((b"\n" if text and not text.endswith(b"\n") else b"") + f"{entry}\n".encode())
    except OSError as error:
        raise StoreError(
            f"the suppress list {uri} can't be written: {error.strerror}",
            remedy=f"Add this line to it: {entry}",
        ) from error


class Suppression:
    """Knows whose events are held back, and not who they are: the copy of a list, and *salt* of its hashes.

    The copy has 16 bytes of a hash of each id, and a filter: a bit that is off says that nobody with such a
    hash is on the list, so that the file is asked for few others than those. In memory are the filter, 2 to 4
    bytes an id and 16 MB at most, and the file's last answers, 13 MB at most. Among 10^12 others, one in
    10^20 is taken for a member of a list of a million.
    """

    def __init__(self, path: Path, salt: str = "") -> None:
        self._path = path
        try:
            self._connection = connect(path)
            self._filter, hashed = self._connection.execute("SELECT bits, hashed FROM filter").fetchone()
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        self._mask = 8 * len(self._filter) - 1
        self._remembered = lru_cache(maxsize=REMEMBERED)(self._look_up)
        # Salt matters to hashed entries only: a plain list costs one hash an id that is asked for.
        self._salt = salt.encode() if hashed else b""

    def covers(self, *ids: object) -> bool:
        """Whether one of *ids* is on the list; what is no text, or empty, is nobody.

        `StoreError` when the copy can't be read: nobody is taken for absent because of a broken disk.
        """
        for id_ in ids:
            if isinstance(id_, str) and id_:
                text = id_.encode("utf-8", "surrogatepass")
                if self._has(sha256(text).digest()):
                    return True
                if self._salt and self._has(sha256(self._salt + text).digest()):
                    return True
        return False

    def _has(self, digest: bytes) -> bool:
        place = int.from_bytes(digest[:4]) & self._mask
        return bool(self._filter[place >> 3] >> (place & 7) & 1) and self._remembered(digest[:_SIZE])

    def _look_up(self, digest: bytes) -> bool:
        try:
            found = self._connection.execute("SELECT 1 FROM ids WHERE digest = ?", (digest,)).fetchone()
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        return found is not None

    def _unreadable(self, error: sqlite3.Error) -> StoreError:
        return StoreError(
            f"the copy {self._path} of the suppress list can't be read: {error}",
            remedy="Delete it: the next run makes it anew.",
        )


def _copy(source: Located, uri: str, stream: BinaryIO, target: Path) -> None:
    """Write the digests of a list, and their filter."""
    list_ = _List(uri)
    write_rows(target, source, ((each, "", 0) for each in list_.digests(stream)), ("ids", "digest", "note"))
    with closing(sqlite3.connect(target)) as connection, connection:
        (count,) = connection.execute("SELECT count(*) FROM ids").fetchone()
        bits = bytearray(1 << min(_FILTER_MOST, max(_FILTER_LEAST, count.bit_length() + 1)))
        for (digest,) in connection.execute("SELECT digest FROM ids"):
            place = int.from_bytes(digest[:4]) & (8 * len(bits) - 1)
            bits[place >> 3] |= 1 << (place & 7)
        connection.execute("CREATE TABLE filter (bits BLOB, hashed INTEGER)")
        connection.execute("INSERT INTO filter VALUES (?, ?)", (bits, list_.hashed))


class _List:
    """A list while it is read: whether an entry is a hash, and what is wrong with which line."""

    def __init__(self, name: str) -> None:
        self.hashed = False
        self._name = name
        self._faults: list[tuple[int, str]] = []

    def digests(self, stream: BinaryIO) -> Iterator[bytes]:
        """Read one id on a line, quoted or not, exact to the letter, and give 16 bytes of a hash of each.

        Empty lines and those that begin with `#` are nothing. `sha256:` and 64 hex digits are the SHA-256 of
        an id in UTF-8, behind a salt or without one. 64 hex digits alone are both: such a hash, and an id of
        that form. `ConfigError` names the lines that are no entry, and never quotes them.
        """
        for number, line in enumerate(io.TextIOWrapper(stream, "utf-8", errors="surrogateescape"), 1):
            text = line.strip().removeprefix("\ufeff")
            if text and not text.startswith("#"):
                yield from self._entry(number, text)
        if self._faults:
            raise _bad_lines(self._name, self._faults)

    def _entry(self, number: int, text: str) -> Iterable[bytes]:
        entry, fault = _unquoted(text) if '"' in text or "," in text else (text, "")
        if fault := fault or _fault(entry):
            self._faults.append((number, fault))
            return ()
        plain = sha256(entry.encode()).digest()[:_SIZE]
        match = _HASH.fullmatch(entry)
        if match is None:
            return (plain,)
        self.hashed = True
        found = bytes.fromhex(match["digest"])[:_SIZE]
        return (found,) if match["mark"] else (found, plain)


def _unquoted(text: str) -> tuple[str, str]:
    """The value of a line of one column, and what is wrong with it (empty: nothing)."""
    quoted = _QUOTED.fullmatch(text)
    if quoted is not None:
        return quoted[1].replace('""', '"'), ""
    if text.startswith('"'):
        return "", "is no single quoted value"
    if "," in text:
        return "", "has several columns; a comma that belongs to an id needs double quotes around that"
    return text, ""


def _fault(entry: str) -> str:
    if not entry:
        return "is an empty id"
    if len(entry) > _LONGEST:
        return f"has {len(entry):,} characters; no id has more than {_LONGEST:,}"
    if _NO_TEXT.search(entry):
        return "is no text in UTF-8"
    if entry.startswith(_MARK) and not _HASH.fullmatch(entry):
        return "is no SHA-256: 64 hex digits have to follow `sha256:`"
    return ""


def _bad_lines(name: str, faults: list[tuple[int, str]]) -> ConfigError:
    shown = [f"  line {number:,} {fault}" for number, fault in faults[:_SHOWN]]
    if len(faults) > _SHOWN:
        shown.append(f"  and {len(faults) - _SHOWN:,} more lines")
    return ConfigError(
        f"{name}: the suppress list has lines that are no entry:\n" + "\n".join(shown),
        remedy="Write one id on a line, plain or as sha256: and 64 hex digits; until then nothing is sent.",
    )
