"""What an event is called: fixed texts, and the texts of fields between them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

RESERVED = frozenset(
    {
        "[Amplitude] Start Session",
        "[Amplitude] End Session",
        "[Amplitude] Revenue",
        "[Amplitude] Revenue (Verified)",
        "[Amplitude] Revenue (Unverified)",
        "[Amplitude] Merged User",
        "$identify",
        "$groupidentify",
        "_all",
        "_identify",
    }
)
"""Names that Amplitude refuses, or gives another meaning (amplitude.md, 1.4)."""

_BRACES = re.compile(r"\{([A-Za-z_]\w*)(?::-([^{}]*))?\}")

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\WA-Z_\d]+|\d+")


@dataclass(frozen=True, slots=True)
class FieldText:
    """The text of a field; `default` where it is null or empty. None: the event can't do without it."""

    field: str
    default: str | None = None

    def __str__(self) -> str:
        return f"{{{self.field}}}" if self.default is None else f"{{{self.field}:-{self.default}}}"


Part: TypeAlias = str | FieldText


@dataclass(frozen=True)
class Naming:
    """The parts of a name, in order; texts that touch are one."""

    parts: tuple[Part, ...]

    @classmethod
    def of(cls, *parts: Part) -> Naming:
        """Join texts that touch, and leave out empty ones."""
        joined: list[Part] = []
        for part in parts:
            if isinstance(part, str) and joined and isinstance(joined[-1], str):
                joined[-1] += part
            elif part != "":
                joined.append(part)
        return cls(tuple(joined))

    @classmethod
    def parse(cls, pattern: str, words: Mapping[str, Naming] | None = None) -> Naming:
        """Read `{field}` and `{field:-text}`; a name in *words* stands for the parts of another naming."""
        return cls.of(*_parts(pattern, words or {}))

    @cached_property
    def fields(self) -> tuple[FieldText, ...]:
        return tuple(part for part in self.parts if isinstance(part, FieldText))

    @cached_property
    def may_be_reserved(self) -> bool:
        """Whether some record could make a name of `RESERVED` of it."""
        first = self.parts[0] if self.parts and isinstance(self.parts[0], str) else ""
        return any(name.startswith(first) for name in RESERVED)

    def __str__(self) -> str:
        return "".join(map(str, self.parts))


def _parts(pattern: str, words: Mapping[str, Naming]) -> Iterator[Part]:
    end = 0
    for match in _BRACES.finditer(pattern):
        yield pattern[end : match.start()]
        end = match.end()
        word = words.get(match[1])
        yield from word.parts if word else (FieldText(match[1], match[2]),)
    yield pattern[end:]


@dataclass(frozen=True, slots=True)
class TitleRules:
    """Which parts of a dotted name say nothing, and how words (in lower case) are spelled."""

    leave_out: frozenset[str]
    words: Mapping[str, str]

    def title(self, event_type: str) -> str:
        """Spell `users.messages.sms.ShortLinkClick` as `SMS Short Link Click`; never empty for a name."""
        parts = [part for part in event_type.split(".") if part and part not in self.leave_out]
        return " ".join(self._spell(part) for part in parts) or event_type

    def _spell(self, part: str) -> str:
        whole = self.words.get(part.lower())
        if whole is not None:
            return whole
        words = _WORD.findall(part) or [part]
        return " ".join(self.words.get(word.lower()) or word[0].upper() + word[1:] for word in words)
