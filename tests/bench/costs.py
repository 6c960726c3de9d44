"""What each rule of a mapping costs an event: reading and mapping in one process, nothing sent."""

from __future__ import annotations

import gc
import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from braze_etl.braze.currents.container import AvroFile
from braze_etl.engine.flow import Block
from braze_etl.flows.currents_to_amplitude.reader import EventReader, generated_source
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.rules import Explosion
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import Damage, FileRef
from tests.bench.delivery import make_export
from tests.bench.figures import Say
from tests.bench.process import BenchError
from tests.bench.rules import CASES, TYPES, Case
from tests.bench.scenarios import Scale

FULL_EVENTS = 5_000
"""Events of a pass over one file: long beside the clock's steps, short beside what the machine does else."""
_ROUNDS = 5
"""Passes of each rule for each round of the deliveries: they take so much less time."""
PLAIN = Case("plain")
_PLAIN = EventMapping.load(MappingSection())
_HOUR = datetime(2026, 10, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class File:
    """A file of one event type in memory, with so many events."""

    ref: FileRef
    data: bytes
    events: int

    @property
    def schema_json(self) -> bytes:
        """Its writer schema."""
        return AvroFile(io.BytesIO(self.data), None, name=self.ref.key).schema_json


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU nanoseconds an event, and how that compares with the plain mapping in the same rounds."""

    nanoseconds: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Costs:
    """The plain mapping, and each rule; None where the generated code is the same, letter by letter."""

    plain: dict[str, float]
    rules: dict[str, dict[str, Cost | None]]
    events: int
    rounds: int


def measure_rules(work: Path, scale: Scale, say: Say, cases: Sequence[Case] = CASES) -> Costs:
    """Measure each rule over a file of each type; a rule and the plain mapping take turns."""
    events = max(100, scale.of(FULL_EVENTS))
    files = {name: _file(work, event_type, events) for name, event_type in TYPES.items()}
    rounds, rules, plain = _ROUNDS * scale.rounds, dict[str, dict[str, Cost | None]](), dict[str, float]()
    for case in cases:
        mapping = mapping_of(case, work)
        rules[case.name] = {}
        for name, file in files.items():
            if not (case.always or case.step) and is_traceless(mapping, file):
                rules[case.name][name] = None
                continue
            cost = rules[case.name][name] = _cost(case, mapping, file, rounds)
            plain.setdefault(name, cost.nanoseconds / cost.ratio)
        say(f"{case.name}: {_told(rules[case.name])}")
    return Costs(plain, rules, events, rounds)


def mapping_of(case: Case, work: Path) -> EventMapping:
    """The mapping with that rule alone; its tables are made in *work*."""
    return EventMapping.load(MappingSection.model_validate(case.mapping), case.people(work))


def is_traceless(mapping: EventMapping, file: File) -> bool:
    """Whether the rules of *mapping* leave no trace in what is generated for that file."""
    return _generated(mapping, file) == _generated(_PLAIN, file)


def _generated(mapping: EventMapping, file: File) -> tuple[str, list[Explosion]]:
    """The code, and the functions in it that take JSON texts apart: rules about keys are inside of these."""
    plan = mapping.plan(file.ref.event_type)
    source = generated_source(file.schema_json, plan) or ""
    return source, [each for each in plan.explosions if f"explode_{each.field}(" in source]


def _file(work: Path, event_type: str, events: int) -> File:
    export = make_export(work / event_type, events, events, shape="mixed", event_types=(event_type,))
    (path,) = export.folder.rglob("*.avro")
    data = path.read_bytes()
    return File(FileRef(path.name, "etag", len(data), _HOUR, event_type, _HOUR), data, events)


def _cost(case: Case, mapping: EventMapping, file: File, rounds: int) -> Cost:
    plain, ruled = list[float](), list[float]()
    for number in range(rounds):
        pair = [(PLAIN, _PLAIN, plain), (case, mapping, ruled)]
        for each, its_mapping, taken in pair if number % 2 else reversed(pair):
            taken.append(_pass(each, its_mapping, file) / file.events)
    ratio = median(one / other for one, other in zip(ruled, plain, strict=True))
    return Cost(median(ruled), ratio)


def _pass(case: Case, mapping: EventMapping, file: File) -> int:
    """CPU nanoseconds of one pass over the file, by a reader that is made anew: where code lies matters."""
    reader = EventReader(mapping)
    next(_blocks(reader, file))  # the function is generated, and knows its types
    step = None if case.step is None else case.step()
    gc.collect()
    count, began = 0, time.process_time_ns()
    for block in _blocks(reader, file):
        outcomes = list(block.outcomes)
        count += len(outcomes)
        if step is not None:
            step(outcomes)  # type: ignore[arg-type] # each record of this export is an event by the plain mapping
    taken = time.process_time_ns() - began
    if count != file.events or reader.ways["fastavro"]:
        raise BenchError(f"{case.name}: {count:,} of {file.events:,} records, {dict(reader.ways)}")
    return taken


def _blocks(reader: EventReader, file: File) -> Iterator[Block]:
    for block in reader.read(file.ref, io.BytesIO(file.data)):
        if isinstance(block, Damage):
            raise BenchError(f"{file.ref.key} is damaged: {block.detail}")
        yield block


def _told(costs: dict[str, Cost | None]) -> str:
    return ", ".join(
        f"{name} {'same code' if cost is None else f'{cost.ratio:.2f}'}" for name, cost in costs.items()
    )
