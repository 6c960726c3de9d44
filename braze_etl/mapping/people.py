"""The people that a mapping asks for: whose events are not sent (the suppress list), and the look-up table.

The list holds ids, plain or hashed, one on a line; `Suppression` keeps 16 bytes of a hash of each.
"""

from __future__ import annotations

import io
import re
from array import array
from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from itertools import accumulate
from typing import Final, Self

from braze_etl.errors import ConfigError, StoreError, UsageError
from braze_etl.mapping.identity import People
from braze_etl.mapping.lookup import LookupCache, LookupColumns, LookupTable, cache_folder
from braze_etl.mapping.settings import MappingSection
from braze_etl.storage.opening import locate
from braze_etl.storage.settings import StoreAccess

SIZE: Final = 16
_BUCKETS: Final = 1 << 16

_MARK: Final = "sha256:"
_HASH: Final = re.compile(r"(?P<mark>sha256:)?(?P<digest>[0-9a-fA-F]{64})")
_QUOTED: Final = re.compile(r'"((?:[^"]|"")*)"')
_NO_TEXT: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_LONGEST: Final = 1024
"""Characters; Amplitude cuts a longer id (amplitude.md, 1.4), so that nobody can be known by it."""
_SHOWN: Final = 5


def load_people(mapping: MappingSection, access: StoreAccess) -> People:
    """Read the lists and tables that a mapping names, by the *access* of the source.

    The table stays open as long as it is used. Errors are those of `load_suppression` and `open_lookup`.
    """
    privacy, lookup = mapping.privacy, mapping.identity.lookup
    salt = privacy.salt.get_secret_value()
    people = People(suppressed=load_suppression(privacy.suppress, access, salt) if privacy.suppress else None)
    if lookup is None:
        return people
    # Asked for before it is opened: of a table that is replaced in between, the older version is noted, and
    # what was judged by it is never compared, rather than compared with another content.
    version = locate("look-up table", lookup.uri, access).version()
    table = open_lookup(
        lookup.uri,
        access,
        table=lookup.table,
        key_column=lookup.key_column,
        value_column=lookup.value_column,
    )
    return replace(people, table=table, key=lookup.key, missing=lookup.missing, table_version=version)


def load_suppression(uri: str, access: StoreAccess, salt: str = "") -> Suppression:
    """Read the suppress list that *uri* (a path, `file:///path`, `s3://bucket/key`) names.

    `ConfigError` for a list that is not there, or has lines that are no entry; `StoreError` for one that
    can't be reached. In none of these cases may anything be sent.
    """
    with locate("suppress list", uri, access).reading() as stream:
        text = io.TextIOWrapper(stream, "utf-8", errors="surrogateescape")
        try:
            return Suppression.parse(text, salt)
        except ConfigError as error:
            raise ConfigError(f"{uri}: {error.message}", remedy=error.remedy) from None


def open_lookup(
    uri: str,
    access: StoreAccess,
    *,
    table: str | None = None,
    key_column: str | None = None,
    value_column: str | None = None,
    cache: LookupCache | None = None,
) -> LookupTable:
    """Open the look-up table that *uri* names, a CSV or a SQLite file; the caller closes it.

    What can't be searched where it lies is copied first (see `LookupCache`), which takes minutes for tens of
    millions of rows: open it once before processes do that need it. Errors are those of `load_suppression`.
    """
    columns = LookupColumns(table, key_column, value_column)
    cache = cache or LookupCache(cache_folder())
    return LookupTable(cache.of(locate("look-up table", uri, access), columns), columns)


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
    """Knows whose events are held back, and not who they are: 16 bytes of a hash are kept of each id.

    Memory: 16 bytes an id and 1 MB; about 70 bytes an id while the list is read.
    """

    def __init__(self, ids: DigestSet, literal: DigestSet, salt: bytes = b"") -> None:
        self._ids = ids
        self._literal = literal
        self._salt = salt

    @classmethod
    def parse(cls, lines: Iterable[str], salt: str = "") -> Self:
        """Read a list: one id on a line, in double quotes or without, exact to the letter.

        Empty lines and those that begin with `#` are nothing. `sha256:` and 64 hex digits are the SHA-256 of
        an id in UTF-8, behind *salt* or without it. 64 hex digits alone are both: such a hash, and an id of
        that form. `ConfigError` names the lines that are no entry, and never quotes them.
        """
        list_ = _List()
        for number, line in enumerate(lines, 1):
            list_.add(number, line)
        if list_.faults:
            raise _bad_lines(list_.faults)
        # Salt matters to hashed entries only: a plain list costs one hash an id that is asked for.
        return cls(DigestSet(list_.ids), DigestSet(list_.literal), salt.encode() if list_.hashed else b"")

    def covers(self, *ids: object) -> bool:
        """Whether one of *ids* is on the list; what is no text, or empty, is nobody."""
        return any(self._has(id_) for id_ in ids if isinstance(id_, str) and id_)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def digest(self) -> str:
        """16 hex digits of the whole list, whatever its order: for the log, to tell one list from another."""
        return sha256(self._ids.block + self._literal.block).hexdigest()[:16]

    def _has(self, id_: str) -> bool:
        text = id_.encode("utf-8", "surrogatepass")
        plain = _digest(text)
        if plain in self._ids or plain in self._literal:
            return True
        return bool(self._salt) and _digest(self._salt + text) in self._ids


class _List:
    """A list while it is read: digests one after the other, and what is wrong with which line."""

    def __init__(self) -> None:
        self.ids = bytearray()
        self.literal = bytearray()
        self.hashed = False
        self.faults: list[tuple[int, str]] = []

    def add(self, number: int, line: str) -> None:
        """Take a line in; what is wrong with it is noted."""
        text = line.strip().removeprefix("\ufeff")
        if not text or text.startswith("#"):
            return
        entry, fault = _unquoted(text) if '"' in text or "," in text else (text, "")
        if fault := fault or _fault(entry):
            self.faults.append((number, fault))
        elif match := _HASH.fullmatch(entry):
            self.hashed = True
            self.ids += bytes.fromhex(match["digest"])[:SIZE]
            if not match["mark"]:
                self.literal += _digest(entry.encode())
        else:
            self.ids += _digest(entry.encode())


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


def _digest(text: bytes) -> bytes:
    return sha256(text).digest()[:SIZE]


def _bad_lines(faults: list[tuple[int, str]]) -> ConfigError:
    shown = [f"  line {number:,} {fault}" for number, fault in faults[:_SHOWN]]
    if len(faults) > _SHOWN:
        shown.append(f"  and {len(faults) - _SHOWN:,} more lines")
    return ConfigError(
        "the suppress list has lines that are no entry:\n" + "\n".join(shown),
        remedy="Write one id on a line, plain or as sha256: and 64 hex digits; until then nothing is sent.",
    )


class DigestSet:
    """Answers `digest in set`: a search, done in C, among the 65,536th part with the same first two bytes.

    Made of digests one after the other, in any order, repeats allowed. Among 10^12 others, one in 10^20 is
    taken for a member of a set of a million.
    """

    def __init__(self, packed: bytes | bytearray = b"") -> None:
        spread, ends = _by_bucket(packed)
        block, start = bytearray(), 0
        self._ends = array("Q", [0])
        for end in ends:
            if start < end:
                block += b"".join(sorted({bytes(spread[at : at + SIZE]) for at in range(start, end, SIZE)}))
            self._ends.append(len(block))
            start = end
        self._block = bytes(block)

    def __contains__(self, digest: bytes) -> bool:
        bucket = digest[0] << 8 | digest[1]
        start, end = self._ends[bucket], self._ends[bucket + 1]
        while start < end:
            found = self._block.find(digest, start, end)
            if found < 0:
                return False
            if found % SIZE == 0:
                return True
            start = found + 1  # the end of one digest and the beginning of the next
        return False

    def __len__(self) -> int:
        return len(self._block) // SIZE

    @property
    def block(self) -> bytes:
        """All of them, sorted."""
        return self._block


def _by_bucket(packed: bytes | bytearray) -> tuple[bytearray, list[int]]:
    """The digests in the order of their buckets, and where each bucket ends."""
    pairs = zip(packed[::SIZE], packed[1::SIZE], strict=True)
    buckets = array("H", (first << 8 | second for first, second in pairs))
    sizes = [0] * _BUCKETS
    for bucket in buckets:
        sizes[bucket] += SIZE
    ends = list(accumulate(sizes))
    places = [end - size for end, size in zip(ends, sizes, strict=True)]
    spread = bytearray(len(packed))
    for number, bucket in enumerate(buckets):
        place = places[bucket]
        spread[place : place + SIZE] = packed[number * SIZE : (number + 1) * SIZE]
        places[bucket] = place + SIZE
    return spread, ends
