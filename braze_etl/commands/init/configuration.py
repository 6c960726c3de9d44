"""A survey as a configuration: every risky choice explicit, on the safe side, its reason beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from enum import Enum
from importlib.resources import files
from string import Template
from typing import Any, Final

import yaml

from braze_etl.clock import hour_of, iso
from braze_etl.commands.init.survey import Survey
from braze_etl.engine.forecast import Density
from braze_etl.flows.currents_to_amplitude.mapping import load_mapping
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.globs import matches
from braze_etl.mapping.groups import expand_types
from braze_etl.mapping.mapping import EventMapping
from braze_etl.model import Reason
from braze_etl.state.ledger import BacklogLine
from braze_etl.storage.opening import places
from braze_etl.storage.settings import StoreSection
from braze_etl.uri import is_in_s3

_SENDS: Final = ("*.Send", "*.CarrierSend", "*.Delivery", "*.Abort", "*.Retry", "*.Deferral")
_STEPS: Final = (
    "users.canvas.Entry",
    "users.canvas.exit.*",
    "users.canvas.experimentstep.SplitEntry",
    "users.canvasstep.*",
    "users.campaigns.EnrollInControl",
)

_BACK: Final = timedelta(hours=48)
_MARGIN: Final = 1.5
_LEAST: Final = 1000
_NAMES: Final = 60


class _Form(Template):
    """`@{name}` is a place to fill in; `${NAME}` stays for the environment."""

    delimiter = "@"


def configuration(
    found: Survey, settings: Settings, *, state: str | None = None, region_given: bool = True
) -> str:
    """Write the YAML for what was found in the source of *settings*; no *state*: beside the source.

    `UsageError` where the state would lie among the files of the source.
    """
    form = _Form(files(__package__).joinpath("configuration.txt").read_text("utf-8"))
    named = state is not None
    state, quarantine = places(found.source, settings.pipeline, state)
    groups = grouped(found.types, load_mapping(settings))
    start_at = first_hour(found.now)
    expected, bound = _first_run(found, groups[Group.OUTCOMES], start_at)
    return form.substitute(
        today=f"{found.now:%Y-%m-%d}",
        looked_at=_looked_at(found),
        sampled=_sampled(found),
        pipeline=_scalar(settings.pipeline),
        project=_scalar(settings.amplitude.project),
        source=_scalar(found.source),
        reach=_reach(settings),
        start_at=f"{start_at:%Y-%m-%dT%H}",
        oldest=_hour(found.oldest),
        newest=_hour(found.newest),
        backfill=_backfill(found, start_at),
        connectors="\n".join(_connectors(found)),
        region=settings.amplitude.region,
        region_note="given" if region_given else "not given, and a key works in one region alone",
        short_ids=_short_ids(found),
        state=_scalar(state),
        state_note=_state_note(state, named=named),
        quarantine=_scalar(quarantine),
        no_identity=_no_identity(found),
        send="".join(f"{line}\n" for line in _send(groups)),
        include="\n".join(_include(found, groups)),
        expected=f"{expected:,}",
        first_run_events=f"{bound:_}",
    )


def first_hour(now: datetime) -> datetime:
    """Where a configuration begins that is written now."""
    return hour_of(now - _BACK)


class Group(Enum):
    """A group of event types that is chosen or left off as one; its value is what to know about it."""

    OUTCOMES = "What came of messages: opens, clicks, conversions, replies, bounces, subscriptions."
    SENDS = (
        "Off: sends, deliveries, aborts, retries. Nobody's act, and most of the volume; they are\n"
        "wanted for open rates in Amplitude."
    )
    STEPS = (
        "Off: the steps of campaigns and Canvases, control groups among them. They are wanted where\n"
        "conversions are compared with a control group."
    )
    BEHAVIOR = (
        "Off: customer behavior (sessions, custom events, purchases). If the product sends these to\n"
        "Amplitude itself, they would be counted twice, revenue too."
    )
    OTHERS = "Off: no customer events. To send one, name it in `send` above as well."
    UNKNOWN = (
        "Off: not known to this release. To send one, name it in `send` above as well: without that,\n"
        "its name is a mistake here."
    )


def group_of(event_type: str, mapping: EventMapping) -> Group:
    """Say where a type belongs."""
    plan = mapping.plan(event_type)
    if plan.withheld is Reason.NOT_IN_NATIVE:
        return Group.OTHERS
    if not plan.listed:
        return Group.UNKNOWN
    if matches(event_type, expand_types(["behavior"])):
        return Group.BEHAVIOR
    if matches(event_type, _STEPS):
        return Group.STEPS
    return Group.SENDS if matches(event_type, _SENDS) else Group.OUTCOMES


def grouped(event_types: Iterable[str], mapping: EventMapping) -> dict[Group, list[str]]:
    """Sort types into all the groups."""
    groups: dict[Group, list[str]] = {group: [] for group in Group}
    for name in sorted(event_types):
        groups[group_of(name, mapping)].append(name)
    return groups


def _state_note(state: str, *, named: bool) -> str:
    if not is_in_s3(state):
        return (
            "# On this disk, which has to outlive the job. In a container, or with several machines, keep\n"
            "# it in S3 (s3://acme-state/braze-etl/ledger, say), and the quarantine beside it."
        )
    if named:
        return (
            "# The ledger of files: what is done, and who is at work. Switch versioning on for this bucket."
        )
    return (
        "# In the source's bucket, as nothing else was named. One of its own, with versioning, is better:\n"
        "# the job then needs no right to write where Braze writes. No lifecycle rule may expire it."
    )


def _reach(settings: Settings) -> str:
    source = settings.source
    named = {name: getattr(source, name) for name in StoreSection.model_fields}
    lines = [f"  {name}: {_scalar(value)}\n" for name, value in named.items() if value is not None]
    return "".join([*lines, "  requester_pays: true\n"] if source.requester_pays else lines)


def _looked_at(found: Survey) -> str:
    return (
        f"{found.days:.1f} days up to {_hour(found.newest)}, {len(found.types)} event types,"
        f" {found.lists:,} LIST requests."
    )


def _sampled(found: Survey) -> str:
    sample = found.sample
    codecs = ", ".join(f"{_scalar(name)} ({count})" for name, count in sample.codecs.most_common())
    return (
        f"Sampled: {sample.records:,} records at the beginning of {sample.files:,} files; "
        f"codecs: {codecs or 'none seen'}."
    )


def _backfill(found: Survey, start_at: datetime) -> str:
    if found.newest is None or found.newest >= start_at:
        return ""
    first, last = found.oldest or found.newest, found.newest
    return (
        "  # All of them are older than this: a run would find nothing to send. Set it earlier, or have\n"
        f"  # them sent by `braze-etl backfill --from {first:%Y-%m-%dT%H} --to {last:%Y-%m-%dT%H}`.\n"
    )


def _connectors(found: Survey) -> Iterator[str]:
    chosen, named = found.chosen, found.integrations
    if not chosen:
        yield '  # Connectors. One that is made anew in Braze has another id, and "*" finds it. Found here:'
        yield from (f"  #   {_scalar(id_)}: {len(names)} event types" for id_, names in named.items())
        if not named:
            yield "  #   none that has a name"
        yield '  integrations: ["*"]'
        return
    yield "  # Connectors. Some write the same event types in the same hours. If they export the same"
    yield "  # workspace, each event would be sent twice, which can't be taken back: so one is chosen. Take"
    yield "  # the # away where they export different ones."
    yield "  integrations:"
    for id_, names in named.items():
        twice = [name for name, ids in found.overlaps.items() if id_ in ids]
        also = f"; others write {len(twice)} of them as well, such as {_scalar(twice[0])}" if twice else ""
        yield f"    {'' if id_ in chosen else '# '}- {_scalar(id_)}   # {len(names)} event types{also}"


def _send(groups: dict[Group, list[str]]) -> Iterator[str]:
    """The types that have to be named twice, to be uncommented."""
    names = sorted((*groups[Group.OTHERS], *groups[Group.UNKNOWN]))
    if names:
        yield "  # Types that the preset leaves out or does not know are sent only if they stand here and"
        yield "  # below, under `choose.include`: take the # away in both places."
        yield "  # send:"
        yield from (f"  #   - {_scalar(name)}" for name in names)


def _short_ids(found: Survey) -> str:
    sample = found.sample
    if not sample.judged:
        return "No record could be sampled."
    if not sample.short_ids:
        return "None in the sample is shorter."
    records, least = sample.short_ids.total(), min(sample.short_ids)
    return f"{records:,} of {sample.judged:,} sampled records have one: {least} would take them all."


def _no_identity(found: Survey) -> str:
    sample = found.sample
    if not sample.judged:
        return "No record could be sampled."
    nobody, refused = sample.without_identity / sample.judged, sample.refused / sample.judged
    return (
        f"{nobody:.1%} of the sampled records have neither; {refused:.1%} have an id that Amplitude refuses."
    )


def _include(found: Survey, groups: dict[Group, list[str]]) -> Iterator[str]:
    for group, names in groups.items():
        if not names and group is not Group.OUTCOMES:
            continue
        yield from (f"      # {line}" for line in group.value.splitlines())
        if not names:
            # An empty list would choose everything.
            yield (
                "      - users.messages.*.Open".ljust(_NAMES)
                + " # none of them here yet; this line keeps all the rest off"
            )
        mark = "- " if group is Group.OUTCOMES else "# - "
        for name in names:
            yield f"      {mark}{_scalar(name)}".ljust(_NAMES) + f" # {_volume(found, name)}"


def _volume(found: Survey, name: str) -> str:
    each, part = found.types[name], found.types[name].share(found.chosen)
    per_day = found.per_day(name) * part
    if not each.files:
        return f"none lately, first seen {_hour(each.oldest)}"
    if not part:
        return "of connectors alone that are not chosen above"
    return f"{_about(per_day)} a day, {_about(per_day * 30)} a month"


def _first_run(found: Survey, chosen: list[str], start_at: datetime) -> tuple[int, int]:
    """About how many events a first run sends, and a bound above that.

    A run judges by the rule of thumb before any run has measured: the bound has to leave room for both.
    """
    own = thumb = 0.0
    for each in (found.types[name] for name in chosen):
        share = each.share(found.chosen, start_at)
        own += each.events * share
        thumb += Density().events(each.name, BacklogLine(each.files, each.bytes)) * share
    return round(own), _rounded_up(max(own, thumb) * _MARGIN)


def _rounded_up(value: float) -> int:
    if value <= _LEAST:
        return _LEAST
    unit = int(10 ** (int(math.log10(value)) - 1))
    return math.ceil(value / unit) * unit


def _about(value: float) -> str:
    """A number of events with the precision that an estimate has."""
    if value < 1:
        return "fewer than 1"
    unit = int(10 ** max(0, int(math.log10(value)) - 1))
    return f"{round(value / unit) * unit:,}"


def _hour(moment: datetime | None) -> str:
    return iso(moment) if moment else "no hour"


def _scalar(value: Any) -> str:
    """A text as YAML in ASCII: plain where it reads back as itself, else in quotes."""
    text = str(value)
    try:
        plain = text.isascii() and text.isprintable() and yaml.safe_load(f"key: {text}") == {"key": text}
    except yaml.YAMLError:
        plain = False
    return text if plain else yaml.safe_dump(text, default_style='"', width=math.inf).rstrip("\n")
