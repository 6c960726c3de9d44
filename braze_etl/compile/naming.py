"""The name of an event as an expression of the generated code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any

from braze_etl.compile.checks import variable
from braze_etl.compile.coverage import Field
from braze_etl.transform import MAX_TEXT, FieldText, TypePlan, text_of

_SHORT = 64
"""Bytes of a text whose length is not looked at: it takes one byte (see `fields`)."""

NAME = "event_name"
"""The variable that keeps the name of an event whose name has to be looked at."""


class EventName:
    """How a plan's events are called, for files with these *fields*.

    `functions` are those that the expression calls, `required` the fields without which there is no name.
    """

    def __init__(self, plan: TypePlan, fields: Mapping[str, Field]) -> None:
        self._plan = plan
        self._fields = fields
        self.functions: dict[str, Callable[[Any], str]] = {}
        self.required = tuple(part.field for part in plan.naming.fields if part.default is None)
        self.expression = " + ".join(map(self._part, plan.naming.parts)) or "''"

    @cached_property
    def doubts(self) -> list[str]:
        """Expressions over `NAME` of which one is true where the name may be none that Amplitude takes."""
        naming = self._plan.naming
        found = [] if any(isinstance(part, str) for part in naming.parts) else [f"not {NAME}"]
        if naming.may_be_reserved:
            found.append(f"{NAME} in RESERVED")
        if len(naming.fields) > 1 or self.functions or self._longest_without > MAX_TEXT - _SHORT:
            found.append(f"len({NAME}) > {MAX_TEXT}")
        return found

    def longest(self, name: str) -> int | None:
        """How many bytes of that field leave the name short enough; None: it is no part of it."""
        naming = self._plan.naming
        if name not in {part.field for part in naming.fields}:
            return None
        return max(1, MAX_TEXT - self._longest_without)

    @property
    def _longest_without(self) -> int:
        """Characters of the parts that are no field, and of what stands for fields that are null."""
        texts = (part if isinstance(part, str) else part.default or "" for part in self._plan.naming.parts)
        return sum(map(len, texts))

    def _part(self, part: str | FieldText) -> str:
        if isinstance(part, str):
            return repr(part)
        known, change = self._fields.get(part.field), self._plan.change(part.field)
        if part.default is None and change is None:
            return variable(part.field)
        if known is None:
            return repr(part.default)
        if known.is_text and change is None:
            return f"({variable(part.field)} or {part.default!r})"
        function = f"name_{part.field}_{len(self.functions)}"
        self.functions[function] = partial(_text, change, part.default or "")
        return f"{function}({variable(part.field)})"


def _text(change: Callable[[Any], Any] | None, default: str, value: Any) -> str:
    changed = value if value is None or change is None else change(value)
    return default if changed is None or changed == "" else text_of(changed)
