"""The source of one function for a writer schema and a plan: from the bytes of a block to its events.

    convert(data, text, pos, count, latest) -> (outcomes, unclear records, device ids left out, position)

`text` is `data` as Latin-1: slices of it are the texts in ASCII, without a call to decode each. It reads
*count* records from `data[pos]` on. Where a record can't be judged in few words, `outcomes` holds None, and
the list beside it says which record it was and where its bytes lie. The function raises for whatever it does
not expect; and it must be checked that the last position is the end of the data, because slices do not raise.

What a rule does is called by a name that stands for a function of `mapping`; the `Mapper` calls the same
one. A rule that is not there leaves no trace in the source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from braze_etl.flows.currents_to_amplitude.compiled.fields import (
    Field,
    NotCoveredError,
    Source,
    Use,
    write_field,
)
from braze_etl.flows.currents_to_amplitude.compiled.runtime import UnusualError
from braze_etl.mapping.choice import Choice, chooser, text_of
from braze_etl.mapping.identity import IdentityRules
from braze_etl.mapping.limits import MAX_PROPERTIES, MAX_TEXT
from braze_etl.mapping.mapper import NUMERIC_KEYS
from braze_etl.mapping.mapping import TypePlan
from braze_etl.mapping.names import FieldText
from braze_etl.mapping.placeholders import PlaceholderRules
from braze_etl.mapping.rules import exploder

_UUID_LENGTH = 36


def doubts(plan: TypePlan, fields: Collection[str]) -> Iterator[str]:
    """Expressions over the variables of *fields* of which one is true for a record that is in doubt."""
    yield "doubtful"
    yield f"not {variable('id')}"
    yield f"{variable('time')} is None"
    yield f"not {plan.time.earliest} <= {variable('time')} <= latest"
    for part in plan.naming.fields:
        if part.default is None:
            yield f"not {variable(part.field)}"
    if plan.placeholders is not None:
        yield from _markers(plan.placeholders, fields)


def _markers(rules: PlaceholderRules, fields: Collection[str]) -> Iterator[str]:
    yield f"{variable('id')}.startswith({rules.id_begins!r})"
    if "send_id" in fields:
        send_id = variable("send_id")
        yield f"{send_id} is not None and {send_id}.startswith({rules.send_id_begins!r})"
    if "dispatch_id" in fields:
        yield f"{variable('dispatch_id')} in {rules.dispatch_id_is!r}"
    for name in rules.uuid_in:
        if name in fields:
            yield f"{variable(name)} is not None and len({variable(name)}) == {_UUID_LENGTH}"


def bad_id(rules: IdentityRules, name: str) -> str:
    """An expression that is true for a text that is redacted, or no good id (`IdentityRules.fault`)."""
    bounds = f"{rules.min_length} <= len({name}) <= {rules.max_length}"
    return f"not {bounds} or {name}.lower() in REFUSED or {name} == {rules.masked!r} or '\\0' in {name}"


def variable(field: str) -> str:
    """The name of the variable that keeps *field*."""
    return f"f_{field}"


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
        self.functions[function] = partial(_text, change, part.default)
        return f"{function}({variable(part.field)})"


def _text(change: Callable[[Any], Any] | None, default: str | None, value: Any) -> str:
    changed = value if value is None or change is None else change(value)
    if changed is not None and changed != "":
        return text_of(changed)
    if default is None:
        raise UnusualError("a name of which privacy leaves nothing")
    return default


_IDENTITY = ("external_user_id", "device_id")
_WHO = (*_IDENTITY, "user_id")
_ADVERTISING = ("ad_id", "ad_id_type")


@dataclass(frozen=True)
class Generated:
    """The text of a function `convert`, and the names that it uses beside those of `runtime`."""

    source: str
    names: dict[str, Any] = field(default_factory=dict)


def generate(plan: TypePlan, fields: Sequence[Field], repairs: Counter[str]) -> Generated:
    """Write the function `convert`, which counts its repairs in *repairs*.

    Raises `NotCoveredError` where a field that decides has an odd type.
    """
    source = Source()
    with source.block("def convert(data, text, pos, count, latest)"):
        source.add(repr(f"Turn records of {plan.event_type} into events; generated for one writer schema."))
        if plan.filter is None:
            events = _Events(source, plan, {field.name: field for field in fields}, repairs)
            events.write()
            return Generated(str(source), events.names)
        if plan.choice is not None:
            raise NotCoveredError("a choice among records of which none is sent")
        _write_withheld(source, fields)
    return Generated(str(source), {"WITHHELD": plan.filter})


def _write_withheld(source: Source, fields: Sequence[Field]) -> None:
    with source.block("for _ in range(count)"):
        for each in fields:
            write_field(source, each, Use())
    source.add("return [WITHHELD] * count, [], 0, pos")


class _Events:
    """Writes the body of a function for a type that is sent; *fields* are in the order of the schema."""

    def __init__(
        self, source: Source, plan: TypePlan, fields: dict[str, Field], repairs: Counter[str]
    ) -> None:
        self._source = source
        self._plan = plan
        self._fields = fields
        self._repairs = repairs
        self._name = EventName(plan, fields)
        self._groups = [
            group for group in plan.lifted_groups if all(self._fits(*pair) for pair in group.items())
        ]
        self._at_top = {*plan.lifted, *(name for group in self._groups for name in group), *_ADVERTISING}
        self._kept = {name for name in self._wanted() if name in fields}
        self._check_types()
        self.names: dict[str, Any] = {
            "ADVERTISING": plan.advertising_ids,
            "REFUSED": plan.identity.refused,
            "resolve": plan.identity.resolve,
            **self._name.functions,
        }

    def write(self) -> None:
        add, block = self._source.add, self._source.block
        add("outcomes = []", "unclear = []", "left_out = 0")
        with block("for index in range(count)"):
            add("begin = pos", "doubtful = lost = False", "properties = {}")
            add(*(f"{variable(name)} = None" for name in _WHO if name not in self._fields))
            for each in self._fields.values():
                write_field(self._source, each, self._use(each.name))
            self._write_choice(self._plan.choice, "choose")
            self._write_checks()
            self._write_choice(self._plan.loop_guard, "find_loop")
            self._write_event()
        add("return outcomes, unclear, left_out, pos")

    def _use(self, name: str) -> Use:
        named, rules = self._named(name), self._plan.placeholders
        return Use(
            named=named,
            variable=variable(name) if name in self._kept else None,
            echo=None if rules is None or name in rules.everyday else name.lower(),
            ends=rules.id_ends if rules is not None and name in rules.ids_of_braze else (),
            longest=self._name.longest(name) or (MAX_TEXT if named or name in self._at_top else None),
        )

    def _named(self, name: str) -> tuple[tuple[str, str | None], ...]:
        named: list[tuple[str, str | None]] = []
        for number, (target, change) in enumerate(self._plan.targets(name)):
            function = None if change is None else f"change_{name}_{number}"
            if function is not None:
                self.names[function] = change
            named.append((target, function))
        return tuple(named)

    def _wanted(self) -> Iterator[str]:
        """The fields that have a say beyond becoming a property."""
        plan = self._plan
        yield from (*self._texts(), *plan.lifted, "time", *(part.field for part in plan.naming.fields))
        yield from (name for group in self._groups for name in group)
        for choice in (plan.choice, plan.loop_guard):
            yield from () if choice is None else choice.fields

    def _texts(self) -> Iterator[str]:
        """Those of them that have to be text."""
        plan = self._plan
        yield from ("id", *_WHO, *(each.field for each in plan.explosions), *self._name.required)
        if plan.advertising_ids and all(name in self._fields for name in _ADVERTISING):
            yield from _ADVERTISING
        if plan.placeholders is not None:
            yield from ("send_id", "dispatch_id", *plan.placeholders.uuid_in)

    def _fits(self, name: str, key: str) -> bool:
        known = self._fields.get(name)
        return known is not None and (known.is_number if key in NUMERIC_KEYS else known.is_text)

    def _check_types(self) -> None:
        for name in self._texts():
            if name in self._fields and not self._fields[name].is_text:
                raise NotCoveredError(f"{name}, which is no text")
        for name, key in self._plan.lifted.items():
            if name in self._fields and not self._fits(name, key):
                raise NotCoveredError(f"{name}, which Amplitude would refuse as {key}")
        if "time" not in self._fields or not self._fields["time"].is_whole:
            raise NotCoveredError("time, which is no integer")
        for name in ("id", *self._name.required):
            if name not in self._fields:
                raise NotCoveredError(f"{name}, which is missing")

    def _write_choice(self, choice: Choice | None, function: str) -> None:
        if choice is None:
            return
        self._source.add(f"verdict = {self._call(choice, function)}")
        with self._source.block("if verdict is not None"):
            self._source.add("outcomes.append(verdict)", "continue")

    def _call(self, choice: Choice, function: str) -> str:
        self.names[function] = chooser(choice)
        values = (variable(name) if name in self._kept else "None" for name in choice.fields)
        return f"{function}({', '.join(values)})"

    def _write_checks(self) -> None:
        with self._source.block(f"if {' or '.join(doubts(self._plan, self._kept))}"):
            self._write_unclear()
        if self._name.doubts:
            self._source.add(f"{NAME} = {self._name.expression}")
            with self._source.block(f"if {' or '.join(self._name.doubts)}"):
                self._write_unclear()
        if self._plan.identity.is_plain:
            self._write_plain_identity()
        else:
            self._write_identity()

    def _write_plain_identity(self) -> None:
        block, add = self._source.block, self._source.add
        user, device = (variable(name) for name in _IDENTITY)
        with block(f"if {user}"):
            with block(f"if {bad_id(self._plan.identity, user)}"):
                self._write_unclear()
            with block(f"if {device} and ({bad_id(self._plan.identity, device)})"):
                add("lost = True", f"{device} = None")
        with block(f"elif not {device} or {bad_id(self._plan.identity, device)}"):
            # Common in some types, so it is not left to the mapper: no user, and no good device.
            self._write_resolve()
            add(f"{device} = identity['device_id']")

    def _write_identity(self) -> None:
        user, device = (variable(name) for name in _IDENTITY)
        self._write_resolve()
        self._source.add(f"{user} = identity.get('user_id')")
        with self._source.block(f"if {device} and 'device_id' not in identity"):
            self._source.add("lost = True")
        self._source.add(f"{device} = identity.get('device_id')")

    def _write_resolve(self) -> None:
        self._source.add(f"identity = resolve({', '.join(map(variable, _WHO))})")
        guard, verdict = self._plan.loop_guard, "identity"
        if guard is not None:
            verdict = f"filter_first(identity, {self._call(guard, 'find_loop')})"
        with self._source.block("if identity.__class__ is not dict"):
            self._source.add(f"outcomes.append({verdict})", "continue")

    def _write_unclear(self) -> None:
        self._source.add("unclear.append((index, begin, pos))", "outcomes.append(None)", "continue")

    def _write_event(self) -> None:
        add, block = self._source.add, self._source.block
        user, device = (variable(name) for name in _IDENTITY)
        add("event = {", *(f"    {key!r}: {value}," for key, value in self._base().items()), "}")
        for key, name in (("user_id", user), ("device_id", device)):
            with block(f"if not {name}"):
                add(f"del event[{key!r}]")
        self._write_top()
        self._write_explosions()
        add(*(f"properties[{name!r}] = {value!r}" for name, value in self._plan.fixed.items()))
        if any(explosion.field in self._fields for explosion in self._plan.explosions):
            with block(f"if len(properties) > {MAX_PROPERTIES}"):
                add("outcomes.append(too_many_verdict(properties))", "continue")
        with block("if lost"):
            add("left_out += 1")
        add("event['event_properties'] = properties", "outcomes.append(event)")

    def _base(self) -> dict[str, str]:
        """The keys that an event begins with, and expressions for them; both ids are in at first."""
        user, device = (variable(name) for name in _IDENTITY)
        return {
            "user_id": user,
            "device_id": device,
            "event_type": NAME if self._name.doubts else self._name.expression,
            "time": f"{variable('time')} * 1000",
            "insert_id": variable("id"),
            **{key: repr(value) for key, value in self._plan.constants.items()},
        }

    def _write_top(self) -> None:
        add, block = self._source.add, self._source.block
        plan = self._plan
        lone = [{name: key} for name, key in plan.lifted.items() if name in self._fields]
        for group in (*lone, *self._groups):
            with block(f"if {' and '.join(f'{variable(name)} is not None' for name in group)}"):
                add(*(f"event[{key!r}] = {variable(name)}" for name, key in group.items()))
        if "ad_id_type" in self._kept:
            ad_id, kind = (variable(name) for name in _ADVERTISING)
            with block(f"if {ad_id} and {kind} in ADVERTISING"):
                add(f"event[ADVERTISING[{kind}]] = {ad_id}")

    def _write_explosions(self) -> None:
        for explosion in self._plan.explosions:
            if explosion.field not in self._fields:
                continue
            function, value = f"explode_{explosion.field}", variable(explosion.field)
            self.names[function] = exploder(explosion, self._repairs)
            with self._source.block(f"if {value} is not None"):
                self._source.add(f"properties.update({function}({value}))")
