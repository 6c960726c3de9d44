"""What a record needs to be an event beyond doubt, as expressions of the generated code.

They are no second judge: where one of them sees a doubt, the record goes to the `Mapper`, which knows the
verdicts and their words. So they may be too strict, and never too lenient.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from braze_etl.transform import IdentityRules, PlaceholderRules, TypePlan

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
    for field in rules.uuid_in:
        if field in fields:
            yield f"{variable(field)} is not None and len({variable(field)}) == {_UUID_LENGTH}"


def bad_id(rules: IdentityRules, name: str) -> str:
    """An expression that is true for a text that is redacted, or no good id (`IdentityRules.fault`)."""
    bounds = f"{rules.min_length} <= len({name}) <= {rules.max_length}"
    return f"not {bounds} or {name}.lower() in REFUSED or {name} == {rules.masked!r} or '\\0' in {name}"


def variable(field: str) -> str:
    """The name of the variable that keeps *field*."""
    return f"f_{field}"
