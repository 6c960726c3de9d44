"""The source of one function for a writer schema and a plan: from the bytes of a block to its events.

    convert(data, text, pos, count, latest) -> (outcomes, unclear records, device ids left out, position)

`text` is `data` as Latin-1: slices of it are the texts in ASCII, without a call to decode each. It reads
*count* records from `data[pos]` on. Where a record can't be judged in few words, `outcomes` holds None, and
the list beside it says which record it was and where its bytes lie. The function raises for whatever it does
not expect; and it must be checked that the last position is the end of the data, because slices do not raise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from braze_etl.compile.checks import bad_id, doubts, variable
from braze_etl.compile.coverage import Field, NotCoveredError
from braze_etl.compile.fields import Use, write_field
from braze_etl.compile.source import Source
from braze_etl.transform import NUMERIC_KEYS, TypePlan

_IDENTITY = ("external_user_id", "device_id")
_WHO = (*_IDENTITY, "user_id")
_ADVERTISING = ("ad_id", "ad_id_type")


def generate(plan: TypePlan, fields: Sequence[Field]) -> str:
    """Write the function `convert`. Raises `NotCoveredError` where a field that decides has an odd type."""
    source = Source()
    with source.block("def convert(data, text, pos, count, latest)"):
        source.add(repr(f"Turn records of {plan.event_type} into events; generated for one writer schema."))
        if plan.withheld is None:
            _Events(source, plan, {field.name: field for field in fields}).write()
        else:
            _write_withheld(source, fields)
    return str(source)


def _write_withheld(source: Source, fields: Sequence[Field]) -> None:
    with source.block("for _ in range(count)"):
        for field in fields:
            write_field(source, field, Use())
    source.add("return [WITHHELD] * count, [], 0, pos")


class _Events:
    """Writes the body of a function for a type that is sent; *fields* are in the order of the schema."""

    def __init__(self, source: Source, plan: TypePlan, fields: dict[str, Field]) -> None:
        self._source = source
        self._plan = plan
        self._fields = fields
        self._kept = {name for name in [*self._texts(), *plan.lifted, "time"] if name in fields}
        self._check_types()

    def write(self) -> None:
        add, block = self._source.add, self._source.block
        add("outcomes = []", "unclear = []", "left_out = 0")
        with block("for index in range(count)"):
            add("begin = pos", "doubtful = False", "properties = {}")
            add(*(f"{variable(name)} = None" for name in _WHO if name not in self._fields))
            for field in self._fields.values():
                write_field(self._source, field, self._use(field.name))
            self._write_checks()
            self._write_event()
        add("return outcomes, unclear, left_out, pos")

    def _use(self, field: str) -> Use:
        return Use(
            named=self._plan.property_name(field),
            variable=variable(field) if field in self._kept else None,
            echo=None if self._plan.placeholders is None else field.lower(),
        )

    def _texts(self) -> Iterator[str]:
        """The fields that have a say beyond becoming a property, and are text."""
        plan = self._plan
        yield from ("id", *_WHO, *plan.exploded)
        if plan.advertising_ids and all(name in self._fields for name in _ADVERTISING):
            yield from _ADVERTISING
        if plan.name_field is not None:
            yield plan.name_field
        if plan.placeholders is not None:
            yield from ("send_id", "dispatch_id", *plan.placeholders.uuid_in)

    def _check_types(self) -> None:
        for name in self._texts():
            if name in self._fields and not self._fields[name].is_text:
                raise NotCoveredError(f"{name}, which is no text")
        for name, key in self._plan.lifted.items():
            field = self._fields.get(name)
            if field and not (field.is_number if key in NUMERIC_KEYS else field.is_text):
                raise NotCoveredError(f"{name}, which Amplitude would refuse as {key}")
        if "time" not in self._fields or not self._fields["time"].is_whole:
            raise NotCoveredError("time, which is no integer")
        for name in filter(None, ("id", self._plan.name_field)):
            if name not in self._fields:
                raise NotCoveredError(f"{name}, which is missing")

    def _write_checks(self) -> None:
        block, add = self._source.block, self._source.add
        user, device = (variable(name) for name in _IDENTITY)
        expressions = list(doubts(self._plan, self._kept))
        with block(f"if {' or '.join(expressions)}"):
            self._write_unclear()
        with block(f"if {user}"):
            with block(f"if {bad_id(self._plan.identity, user)}"):
                self._write_unclear()
            with block(f"if {device} and ({bad_id(self._plan.identity, device)})"):
                add("left_out += 1", f"{device} = None")
        with block(f"elif not {device} or {bad_id(self._plan.identity, device)}"):
            self._write_stranger()

    def _write_stranger(self) -> None:
        # Common in some types, so it is not left to the mapper: no user, and no good device.
        add, block = self._source.add, self._source.block
        add(f"identity = resolve({', '.join(map(variable, _WHO))})")
        with block("if identity.__class__ is not dict"):
            add("outcomes.append(identity)", "continue")
        add(f"{variable('device_id')} = identity['device_id']")

    def _write_unclear(self) -> None:
        self._source.add("unclear.append((index, begin, pos))", "outcomes.append(None)", "continue")

    def _write_event(self) -> None:
        add, block = self._source.add, self._source.block
        user, device = (variable(name) for name in _IDENTITY)
        add("event = {", *(f"    {key!r}: {value}," for key, value in self._base().items()), "}")
        for key, name in (("user_id", user), ("device_id", device)):
            with block(f"if not {name}"):
                add(f"del event[{key!r}]")
        self._write_extras()
        add("event['event_properties'] = properties", "outcomes.append(event)")

    def _base(self) -> dict[str, str]:
        """The keys that an event begins with, and expressions for them; both ids are in at first."""
        plan = self._plan
        user, device = (variable(name) for name in _IDENTITY)
        own = "" if plan.name_field is None else f" + {variable(plan.name_field)}"
        return {
            "user_id": user,
            "device_id": device,
            "event_type": f"{plan.title!r}{own}",
            "time": f"{variable('time')} * 1000",
            "insert_id": variable("id"),
            **{key: repr(value) for key, value in plan.constants.items()},
        }

    def _write_extras(self) -> None:
        add, block = self._source.add, self._source.block
        plan = self._plan
        for field, key in plan.lifted.items():
            if field in self._fields:
                with block(f"if {variable(field)} is not None"):
                    add(f"event[{key!r}] = {variable(field)}")
        if "ad_id_type" in self._kept:
            ad_id, kind = (variable(name) for name in _ADVERTISING)
            with block(f"if {ad_id} and {kind} in ADVERTISING"):
                add(f"event[ADVERTISING[{kind}]] = {ad_id}")
        for field, prefix in plan.exploded.items():
            if field in self._fields:
                with block(f"if {variable(field)} is not None"):
                    add(f"properties.update(explode({variable(field)}, {prefix!r}, {field!r}))")
