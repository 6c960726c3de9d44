"""Generated functions, made once for each writer schema and event type, and kept while they are in use."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import TypeAlias

from braze_etl.flows.currents_to_amplitude.compiled.fields import NotCoveredError, covered_fields
from braze_etl.flows.currents_to_amplitude.compiled.generator import Generated, generate
from braze_etl.flows.currents_to_amplitude.compiled.runtime import namespace
from braze_etl.mapping.mapper import Mapper
from braze_etl.mapping.mapping import TypePlan
from braze_etl.model import Event, Verdict

Converted: TypeAlias = tuple[list[Event | Verdict | None], list[tuple[int, int, int]], int, int]
"""Outcomes, unclear records as (index, begin, end), device ids left out, the position behind the last one."""

Convert: TypeAlias = Callable[[bytes, str, int, int, int], Converted]
"""A generated function: (data, data as Latin-1, position, count, latest time) (see `generator`)."""

_KEPT = 256
"""More than there are event types, in two versions of their schemas (currents.md, 2)."""


def generated_source(schema_json: bytes, plan: TypePlan) -> str | None:
    """The function for that writer schema and plan as text, for people; None where it is not covered."""
    generated = _generated(schema_json, plan, Counter())
    return None if generated is None else generated.source


class FunctionCache:
    """The functions of one mapping, the most recently used ones; None stands for what is not covered."""

    def __init__(self, most: int = _KEPT) -> None:
        self._most = most
        self._known: OrderedDict[tuple[bytes, str], Convert | None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, schema_json: bytes, mapper: Mapper) -> Convert | None:
        """Give the function for files with that schema whose records *mapper* maps; made where needed."""
        key = (schema_json, mapper.plan.event_type)
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        function = self._known[key] = _compiled(schema_json, mapper)
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return function


def _generated(schema_json: bytes, plan: TypePlan, repairs: Counter[str]) -> Generated | None:
    try:
        return generate(plan, covered_fields(schema_json), repairs)
    except NotCoveredError:
        return None


def _compiled(schema_json: bytes, mapper: Mapper) -> Convert | None:
    plan = mapper.plan
    generated = _generated(schema_json, plan, mapper.repairs)
    if generated is None:
        return None
    names = namespace() | generated.names
    code = compile(generated.source, f"<generated for {plan.event_type}>", "exec")
    exec(code, names)  # noqa: S102 - our own text; what comes from a schema is in it as names and literals only
    function: Convert = names["convert"]
    return function
