"""The YAML file of a fault script, read strictly.

A list of rules, each with `do`, and where wanted `when` and `times`::

    - when: {request: 3}                    # also every, first, after: N; path, event_type: globs; user_id,
      do: {reply: {status: 503}}            # insert_id: values; share: 0.1 with seed: N
    - when: {event_type: "*Purchase*"}
      do: {delay: 0.5, ingest_then: {reset: after_body}}
      times: 2

`do` holds one of `reply {status, headers, body}`, `reset` (before_body, after_body, during_reply), `redirect`
(a URL), `truncate_reply: true`, `refuse_gzip: true`, `hang` (seconds), `ingest_then` (`reply` or `reset`);
`delay` (seconds) stands alone or beside any of them.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from braze_etl.sandbox.faults import (
    Action,
    Answer,
    Conditions,
    Fault,
    Faults,
    Hang,
    IngestThen,
    Proceed,
    Redirect,
    RefuseGzip,
    Reset,
    Rule,
    TruncateReply,
)


class FaultFileError(ValueError):
    """A fault script that can't be used; one sentence that names the rule and the key."""


def load_faults(path: str | Path) -> Faults:
    """Read a fault script; raise `FaultFileError` if it can't be read or used."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FaultFileError(f"{path} cannot be read: {error}") from error
    return parse_faults(text, str(path))


def parse_faults(text: str, name: str = "faults") -> Faults:
    """Read a fault script from its text; *name* stands in the errors."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise FaultFileError(f"{name} is not YAML: {' '.join(str(error).split())}") from error
    except (
        RecursionError,
        ValueError,
        LookupError,
        AttributeError,
        ArithmeticError,
    ) as error:  # so PyYAML on odd scalars
        raise FaultFileError(f"{name} is not YAML: too deep, or a value is none of its kind") from error
    if not isinstance(document, list):
        raise FaultFileError(
            f"{name} must be a list of rules, each with `do` and where wanted `when` and `times`"
        )
    return Faults([_rule(_Place(f"{name}, rule {number}"), raw) for number, raw in enumerate(document, 1)])


class _Place:
    """Where in the file we are; every complaint begins with it."""

    def __init__(self, words: str) -> None:
        self._words = words

    def below(self, key: str) -> _Place:
        return _Place(f"{self._words}, {key}")

    def error(self, words: str) -> FaultFileError:
        return FaultFileError(f"{self._words}: {words}")

    def mapping(self, value: Any, known: tuple[str, ...]) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.error(f"must be a mapping with {', '.join(known)}")
        for key in value:
            if key not in known:
                near = get_close_matches(str(key), known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
                raise self.error(f"unknown key {_brief(key)}; {hint}")
        return value

    def whole(self, value: Any, least: int = 1) -> int:
        if type(value) is not int or value < least:
            raise self.error(f"must be a whole number of at least {least}, not {_brief(value)}")
        return value

    def number(self, value: Any, most: float | None = None) -> float:
        if type(value) not in {int, float} or value < 0 or (most is not None and value > most):
            span = "not negative" if most is None else f"from 0 to {most:g}"
            raise self.error(f"must be a number, {span}, not {_brief(value)}")
        return float(value)

    def text(self, value: Any) -> str:
        if not isinstance(value, str) or not value:
            raise self.error(f"must be a text, not {_brief(value)}; quote numbers")
        return value

    def true(self, value: Any) -> None:
        if value is not True:
            raise self.error(f"must be true, not {_brief(value)}")


def _brief(value: Any) -> str:
    return reprlib.repr(value)  # of aliases of aliases, the beginning


def _rule(place: _Place, raw: Any) -> Rule:
    rule = place.mapping(raw, ("when", "do", "times"))
    if "do" not in rule:
        raise place.error("says nothing to `do`")
    when = _conditions(place.below("when"), rule.get("when") or {})
    fault = _fault(place.below("do"), rule["do"])
    if fault.action == Reset("before_body") and when.look_inside:
        raise place.error("reset: before_body cannot depend on an event, which is in the body")
    times = rule.get("times")
    return Rule(when, fault, None if times is None else place.below("times").whole(times))


_WHEN: Mapping[str, Callable[[_Place, Any], Any]] = {
    "request": _Place.whole,
    "every": _Place.whole,
    "first": _Place.whole,
    "after": lambda place, value: place.whole(value, 0),
    "path": _Place.text,
    "share": lambda place, value: place.number(value, 1),
    "seed": lambda place, value: place.whole(value, 0),
    "event_type": _Place.text,
    "user_id": _Place.text,
    "insert_id": _Place.text,
}


def _conditions(place: _Place, raw: Any) -> Conditions:
    given = place.mapping(raw, tuple(_WHEN))
    return Conditions(**{key: _WHEN[key](place.below(key), value) for key, value in given.items()})


def _fault(place: _Place, raw: Any) -> Fault:
    given = dict(place.mapping(raw, (*_ACTIONS, "delay")))
    delay = place.below("delay").number(given.pop("delay")) if "delay" in given else None
    if len(given) > 1 or (not given and delay is None):
        raise place.error(f"must hold one of {', '.join(_ACTIONS)}, or delay alone")
    action: Action = Proceed()
    for key, value in given.items():
        action = _ACTIONS[key](place.below(key), value)
    return Fault(action, delay or 0.0)


def _answer(place: _Place, raw: Any) -> Answer:
    given = place.mapping(raw, ("status", "headers", "body"))
    status = place.below("status").whole(given.get("status", 200), 200)
    headers = given.get("headers") or {}
    if not isinstance(headers, dict):
        raise place.below("headers").error("must be a mapping of names to values")
    return Answer(status, {str(name): str(value) for name, value in headers.items()}, given.get("body"))


def _reset(place: _Place, raw: Any) -> Reset:
    if raw in ("before_body", "after_body", "during_reply"):
        return Reset(raw)
    raise place.error(f"must be before_body, after_body or during_reply, not {_brief(raw)}")


def _truncate(place: _Place, raw: Any) -> TruncateReply:
    place.true(raw)
    return TruncateReply()


def _refuse_gzip(place: _Place, raw: Any) -> RefuseGzip:
    place.true(raw)
    return RefuseGzip()


def _ingest_then(place: _Place, raw: Any) -> IngestThen:
    given = place.mapping(raw, ("reset", "reply"))
    if len(given) != 1:
        raise place.error("must hold one of reset, reply")
    if "reply" in given:
        return IngestThen(_answer(place.below("reply"), given["reply"]))
    reset = _reset(place.below("reset"), given["reset"])
    if reset.moment == "before_body":
        raise place.error("nothing can be ingested before the body; use after_body or during_reply")
    return IngestThen(reset)


_ACTIONS: Mapping[str, Callable[[_Place, Any], Action]] = {
    "reply": _answer,
    "reset": _reset,
    "redirect": lambda place, value: Redirect(place.text(value)),
    "truncate_reply": _truncate,
    "refuse_gzip": _refuse_gzip,
    "hang": lambda place, value: Hang(place.number(value)),
    "ingest_then": _ingest_then,
}
