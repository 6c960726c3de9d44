"""Which event types a new configuration sends: what came of messages, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final

from braze_etl.globs import matches
from braze_etl.model import Reason
from braze_etl.transform import Mapping, expand_types


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


_SENDS: Final = ("*.Send", "*.CarrierSend", "*.Delivery", "*.Abort", "*.Retry", "*.Deferral")
_STEPS: Final = (
    "users.canvas.Entry",
    "users.canvas.exit.*",
    "users.canvas.experimentstep.SplitEntry",
    "users.canvasstep.*",
    "users.campaigns.EnrollInControl",
)


def group_of(event_type: str, mapping: Mapping) -> Group:
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


def grouped(event_types: Iterable[str], mapping: Mapping) -> dict[Group, list[str]]:
    """Sort types into all the groups."""
    groups: dict[Group, list[str]] = {group: [] for group in Group}
    for name in sorted(event_types):
        groups[group_of(name, mapping)].append(name)
    return groups
