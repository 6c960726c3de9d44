"""What the ledger stores as JSON, by its shape.

A shape is a type or a union of types, a function that says whether a value fits, a tuple of shapes of which
one fits, a list of one shape, or a dict: of names (with `?` where one may be missing; others are not looked
at), or of one shape for whatever name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias, TypeVar

Shape: TypeAlias = Any
_T = TypeVar("_T")

EACH: Final = "*"
NUMBER: Final = int | float


def checked(value: _T, shape: Shape, what: str = "it") -> _T:
    """Give *value*, if it has that shape; `ValueError` says where it has not."""
    for wrong in _misfits(value, shape, what):
        raise ValueError(wrong)
    return value


def _misfits(value: Any, shape: Shape, what: str) -> Iterator[str]:
    if isinstance(shape, tuple):
        if all(any(True for _ in _misfits(value, each, what)) for each in shape):
            yield f"{what} is of another kind"
    elif isinstance(shape, dict | list) and not isinstance(value, type(shape)):
        yield f"{what} is of another kind"
    elif isinstance(shape, list):
        for each in value:
            yield from _misfits(each, shape[0], f"part of {what}")
    elif isinstance(shape, dict):
        yield from _misfit_names(value, shape, what)
    elif not (isinstance(value, shape) if isinstance(shape, type | type(NUMBER)) else shape(value)):
        yield f"{what} is of another kind"


def _misfit_names(value: Mapping[str, Any], shape: Mapping[str, Shape], what: str) -> Iterator[str]:
    for name, of in shape.items():
        key = name.removesuffix("?")
        if key == EACH:
            for each, found in value.items():
                yield from _misfits(found, of, f"`{each}`")
        elif key in value:
            yield from _misfits(value[key], of, f"`{key}`")
        elif key == name:
            yield f"`{key}` of {what} is missing"


def moment(value: object) -> bool:
    """Whether that is the text of a time in some time zone."""
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _date(suffix: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and moment(f"{value}{suffix}T00:00:00Z")


def _suspicion(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(each, int) for each in value)


def _empty(value: object) -> bool:
    return value == {}


def _positive(value: object) -> bool:
    return isinstance(value, int) and value > 0


_OR_NONE: Final = (type(None), moment)
_COUNTS: Final = {EACH: NUMBER}
_HISTOGRAM: Final = {"counts": [int], "total": NUMBER}
_PASS: Final = {
    "ended": moment,
    "seconds": NUMBER,
    "exit_code": int,
    "succeeded": _OR_NONE,
    "error": str | None,
}

_REPAIR: Final = {"run": str, "first": moment, "last": moment, "began": moment, "ended": _OR_NONE}

NOTES: Final[Mapping[str, Shape]] = {
    "accepted_source": (_empty, {"uri": str}),
    "before_start": (_empty, {"next": moment, "files": int}),
    "begun": {"files?": str, "trial?": str, "suspects?": {EACH: _suspicion}},
    "budget": (
        _empty,
        {"month": _date("-01"), "month_events": int, "day": _date(""), "day_events": int},
    ),
    "erased": {"ids?": [str]},
    "notify": {EACH: {"at": moment, "active": bool}},
    "prune": {"next?": str, "finished_at?": moment},
    "reconcile": {"next?": moment, "finished_at?": moment},
    "quarantine_stop": (
        _empty,
        {"run_id": str, "at": moment, "set_aside": int, "read": _positive, "share": str},
    ),
    "repairs": {"repairs?": [_REPAIR]},
    "source": {"uri?": str, "newest_hour?": _OR_NONE},
    "verification": (
        _empty,
        {
            "total": {EACH: int},
            "repaired": int,
            "exit_code": int,
            "finished_at": moment,
            **dict.fromkeys(("from", "until"), _OR_NONE),
            "run_id": str | None,
        },
    ),
    "metrics": {
        "records?": {EACH: _COUNTS},
        **{f"{name}?": _COUNTS for name in ("files", "statuses", "sums", "warnings", "repairs", "runs")},
        "latency?": {EACH: _HISTOGRAM},
        "last?": {EACH: _PASS},
    },
}
"""Of each note that a part of the program reads back; the others are read with care where they are used."""

_BY_FIELD: Final = {EACH: {EACH: {"was": str | None, "now": str | None, "outcome": str}}}
_BOOKS: Final = {EACH: {EACH: int}}
REPORT: Final[Shape] = {
    "command?": str,
    "started_at?": moment,
    "finished_at?": _OR_NONE,
    "seconds?": NUMBER,
    **{f"{name}?": _COUNTS for name in ("files", "events", "reasons", "bytes_read", "repairs", "warnings")},
    "by_event_type?": _BOOKS,
    "repeats?": {"by_event_type?": _BOOKS, "reasons?": _COUNTS},
    "requests?": {f"{name}?": NUMBER for name in ("sent", "retried", "throttled", "bytes_raw", "bytes_wire")},
    "latency?": {EACH: NUMBER | None},
    "window?": {"oldest_undelivered?": _OR_NONE, "hours_left?": NUMBER | None},
    "forecast?": {"bytes_left?": NUMBER | None},
    "events_per_second?": NUMBER | None,
    "error?": (type(None), {"type": str, "message": str, "remedy": str}),
    "causes?": list | None,
    "drift?": {
        "unknown_event_types?": {EACH: {"records": int, "outcome": str, "name": str | None}},
        **{f"{name}?": _BY_FIELD for name in ("unknown_fields", "vanished_fields", "changed_types")},
    },
}
"""Of a run's report, as far as later runs and reports read it."""
