"""The people whose events are not sent: a list of ids, plain or hashed, one on a line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Final, Self

from braze_etl.errors import ConfigError
from braze_etl.transform._digests import SIZE, DigestSet

_MARK: Final = "sha256:"
_HASH: Final = re.compile(r"(?P<mark>sha256:)?(?P<digest>[0-9a-fA-F]{64})")
_QUOTED: Final = re.compile(r'"((?:[^"]|"")*)"')
_NO_TEXT: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_LONGEST: Final = 1024
"""Characters; Amplitude cuts a longer id (amplitude.md, 1.4), so that nobody can be known by it."""
_SHOWN: Final = 5


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
