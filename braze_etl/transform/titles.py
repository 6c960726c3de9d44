"""The name of an event type that has no documented one: from its dotted name, by rule."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\WA-Z_\d]+|\d+")


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
