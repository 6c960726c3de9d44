"""Which properties a field becomes, under which names: the preset's way, and the rules over it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from braze_etl.globs import is_glob, matches
from braze_etl.transform.privacy import NOTHING_PRIVATE, Change, PrivateFields, Translated, one_after_other

Target: TypeAlias = tuple[str, Change | None]
"""A property, and how its value is changed on the way, if it is."""


@dataclass(frozen=True, slots=True)
class Edit:
    """What one rule does to properties. Sources are fields, or `field.key` of a JSON text; most are globs.

    What is kept or dropped of a field is so of its keys. `rule` is what people call it.
    """

    rule: str
    add: tuple[str, ...]
    keep: tuple[str, ...] | None
    drop: tuple[str, ...]
    rename: tuple[tuple[str, str], ...]
    copies: Mapping[str, tuple[str, ...]]
    values: Mapping[str, Translated]

    def name(self, source: str, name: str | None) -> str | None:
        """The name of a source's property, from the one before it; None: it becomes none."""
        if name is None and matches(source, self.add):
            name = source
        field, _, key = source.partition(".")
        if name is None or matches(source, self.drop) or matches(field, self.drop):
            return None
        if self.keep is not None and not matches(source, self.keep) and not matches(field, self.keep):
            return None
        for glob, pattern in self.rename:
            if matches(source, (glob,)):
                name = _filled_in(pattern, field=key or field, property=name)
        return name

    def removes(self, field: str) -> bool:
        """Whether it keeps a field from being sent, at the top of the event too."""
        return matches(field, self.drop) or (self.keep is not None and not matches(field, self.keep))

    def copies_of(self, source: str) -> Iterator[str]:
        """The further properties of a source."""
        for glob, names in self.copies.items():
            if matches(source, (glob,)):
                yield from names

    def change_of(self, source: str) -> Change | None:
        """How it changes the values of a source: by the first table whose glob matches."""
        return next((table for glob, table in self.values.items() if matches(source, (glob,))), None)

    def reaches_into(self, field: str) -> bool:
        """Whether it may say something of the keys of that JSON text."""
        if self.keep is not None:
            return True
        globs = (*self.add, *self.drop, *(glob for glob, _ in self.rename), *self.copies, *self.values)
        return any(is_glob(each) or each == field or each.startswith(f"{field}.") for each in globs)


def _filled_in(pattern: str, **words: str) -> str:
    return re.sub(r"\{(field|property)\}", lambda match: words[match[1]], pattern)


@dataclass(frozen=True, slots=True)
class PropertyRules:
    """What becomes of fields as properties."""

    never: frozenset[str]
    """Identity and the like: no `add` brings them back."""
    dropped: frozenset[str]
    """Fields that are no property, for whatever reason: identity, lifted, exploded, left out."""
    renamed: Mapping[str, str]
    """Field -> property, where the names differ."""
    known: frozenset[str]
    """Fields that are known, whatever becomes of them."""
    unknown_fields: Literal["send", "drop"]
    """What to do with fields that are neither known nor dropped."""
    edits: tuple[Edit, ...] = ()
    private: PrivateFields = NOTHING_PRIVATE

    def targets(self, source: str, name: str | None = None) -> tuple[Target, ...]:
        """The properties that a field, or `field.key` of a JSON text, becomes.

        *name* is the one that the rules start from: by default, what the preset makes of the field.
        """
        is_private, change = self.private.find(source)
        if is_private and change is None:
            return ()
        name = self._by_preset(source) if name is None else name
        copies: list[str] = []
        for edit in self.edits:
            name = None if source in self.never else edit.name(source, name)
            copies += edit.copies_of(source)
            if not is_private:
                change = one_after_other(change, edit.change_of(source))
        if not is_private:
            change = one_after_other(self.private.within(source, is_known=source in self.known), change)
        names = copies if name is None else [name, *copies]
        return tuple((each, change) for each in names)

    def author(self, source: str) -> str | None:
        """The rule that had the last word on a source's properties; None: no rule says anything of it."""
        author, name = None, self._by_preset(source)
        for edit in self.edits:
            before, name = name, edit.name(source, name)
            if name != before or any(edit.copies_of(source)) or edit.change_of(source):
                author = edit.rule
        return author

    def reaches_into(self, field: str) -> bool:
        """Whether some rule may be about the keys of that JSON text."""
        return bool(self.private.rules) or any(edit.reaches_into(field) for edit in self.edits)

    def _by_preset(self, field: str) -> str | None:
        if field in self.dropped or (self.unknown_fields == "drop" and field not in self.known):
            return None
        return self.renamed.get(field, field)
