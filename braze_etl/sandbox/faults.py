"""Scripted faults: which request meets which fault. Matching only; `server.Ingestion` acts.

Requests are numbered from 1 as they come: those to paths of Amplitude, and all other POSTs but `/reset`.
Rules are tried in order; the first whose conditions all hold, and that has not been used up, gives its fault.
"""

from __future__ import annotations

import hashlib
import reprlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, TypeAlias

import yaml

Moment: TypeAlias = Literal["before_body", "after_body", "during_reply"]


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer with this and ingest nothing; a text body goes out as it is, anything else as JSON."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the TCP connection. `during_reply` is after ingesting; the other two ingest nothing."""

    moment: Moment


@dataclass(frozen=True, slots=True)
class Redirect:
    """Answer 307 with a Location."""

    url: str


@dataclass(frozen=True, slots=True)
class TruncateReply:
    """Ingest, send half of the reply's body, close in good order."""


@dataclass(frozen=True, slots=True)
class RefuseGzip:
    """Answer 415; holds only for a gzip body."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Read the body, say nothing for this many seconds, close without an answer; ingest nothing."""

    seconds: float


@dataclass(frozen=True, slots=True)
class IngestThen:
    """Ingest, and lose the answer: the client sees the fault."""

    fault: Answer | Reset


@dataclass(frozen=True, slots=True)
class Proceed:
    """No fault but the delay."""


Action: TypeAlias = Answer | Reset | Redirect | TruncateReply | RefuseGzip | Hang | IngestThen | Proceed


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a request, after a delay in seconds that begins when the body has been read."""

    action: Action
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What rules look at; `read_events` is called only by a rule that asks for a value of an event."""

    path: str
    gzip: bool = False
    read_events: Callable[[], Sequence[Any]] = tuple


@dataclass(frozen=True, slots=True)
class Conditions:
    """When a rule applies: all that is set must hold. `share` is a chance, the same for the same seed."""

    request: int | None = None
    every: int | None = None
    first: int | None = None
    after: int | None = None
    path: str | None = None
    share: float | None = None
    seed: int = 0
    event_type: str | None = None
    user_id: str | None = None
    insert_id: str | None = None

    def hold(self, number: int, facts: RequestFacts) -> bool:
        """Whether the request with this number is meant."""
        if not self._number_fits(number) or (
            self.path is not None and not fnmatchcase(facts.path, self.path)
        ):
            return False
        return not self.look_inside or any(self._event_fits(event) for event in facts.read_events())

    def _number_fits(self, number: int) -> bool:
        return (
            (self.request is None or number == self.request)
            and (self.every is None or number % self.every == 0)
            and (self.first is None or number <= self.first)
            and (self.after is None or number > self.after)
            and (self.share is None or _draw(self.seed, number) < self.share)
        )

    @property
    def look_inside(self) -> bool:
        """Whether the body must be read to know."""
        return not (self.event_type is None and self.user_id is None and self.insert_id is None)

    def _event_fits(self, event: Any) -> bool:
        if not isinstance(event, Mapping):
            return False
        named = self.event_type is None or fnmatchcase(str(event.get("event_type")), self.event_type)
        return (
            named
            and self.user_id in {None, event.get("user_id")}
            and self.insert_id in {None, event.get("insert_id")}
        )


def _draw(seed: int, number: int) -> float:
    """Draw from [0, 1) by nothing but seed and number: a script repeats itself whatever the threads do."""
    digest = hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


@dataclass(frozen=True, slots=True)
class Rule:
    """Conditions, a fault, and how often at most."""

    when: Conditions
    fault: Fault
    times: int | None = None

    def applies(self, number: int, facts: RequestFacts) -> bool:
        """Whether the conditions hold for this request."""
        if isinstance(self.fault.action, RefuseGzip) and not facts.gzip:
            return False
        return self.when.hold(number, facts)


class Faults:
    """The rules of a script and how far it has run; may be asked by many threads."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._rules = tuple(rules)
        self._lock = threading.Lock()
        self.restart()

    def restart(self) -> None:
        """Number the next request 1 again, and forget what was used up."""
        with self._lock:
            self._number = 0
            self._used = [0] * len(self._rules)

    def next(self, facts: RequestFacts) -> Fault | None:
        """Return the fault for the next request, or None."""
        with self._lock:
            self._number += 1
            number = self._number
        # Conditions are checked outside the lock: reading a slow client's body must not hold up the others.
        for index, rule in enumerate(self._rules):
            if rule.applies(number, facts) and self._use(index, rule.times):
                return rule.fault
        return None

    def _use(self, index: int, times: int | None) -> bool:
        with self._lock:
            if times is not None and self._used[index] >= times:
                return False
            self._used[index] += 1
            return True


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
    return Faults([_rule(_Node(f"{name}, rule {number}"), raw) for number, raw in enumerate(document, 1)])


class _Node:
    """Where in the file we are; every complaint begins with it."""

    def __init__(self, words: str) -> None:
        self._words = words

    def below(self, key: str) -> _Node:
        return _Node(f"{self._words}, {key}")

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

    def true(self, value: Any, action: Action) -> Action:
        if value is not True:
            raise self.error(f"must be true, not {_brief(value)}")
        return action


def _brief(value: Any) -> str:
    return reprlib.repr(value)  # of aliases of aliases, the beginning


def _rule(node: _Node, raw: Any) -> Rule:
    rule = node.mapping(raw, ("when", "do", "times"))
    if "do" not in rule:
        raise node.error("says nothing to `do`")
    when = _conditions(node.below("when"), rule.get("when") or {})
    fault = _fault(node.below("do"), rule["do"])
    if fault.action == Reset("before_body") and when.look_inside:
        raise node.error("reset: before_body cannot depend on an event, which is in the body")
    times = rule.get("times")
    return Rule(when, fault, None if times is None else node.below("times").whole(times))


_WHEN: Mapping[str, Callable[[_Node, Any], Any]] = {
    "request": _Node.whole,
    "every": _Node.whole,
    "first": _Node.whole,
    "after": lambda node, value: node.whole(value, 0),
    "path": _Node.text,
    "share": lambda node, value: node.number(value, 1),
    "seed": lambda node, value: node.whole(value, 0),
    "event_type": _Node.text,
    "user_id": _Node.text,
    "insert_id": _Node.text,
}


def _conditions(node: _Node, raw: Any) -> Conditions:
    given = node.mapping(raw, tuple(_WHEN))
    return Conditions(**{key: _WHEN[key](node.below(key), value) for key, value in given.items()})


def _fault(node: _Node, raw: Any) -> Fault:
    given = dict(node.mapping(raw, (*_ACTIONS, "delay")))
    delay = node.below("delay").number(given.pop("delay")) if "delay" in given else None
    if len(given) > 1 or (not given and delay is None):
        raise node.error(f"must hold one of {', '.join(_ACTIONS)}, or delay alone")
    action: Action = Proceed()
    for key, value in given.items():
        action = _ACTIONS[key](node.below(key), value)
    return Fault(action, delay or 0.0)


def _answer(node: _Node, raw: Any) -> Answer:
    given = node.mapping(raw, ("status", "headers", "body"))
    status = node.below("status").whole(given.get("status", 200), 200)
    headers = given.get("headers") or {}
    if not isinstance(headers, dict):
        raise node.below("headers").error("must be a mapping of names to values")
    return Answer(status, {str(name): str(value) for name, value in headers.items()}, given.get("body"))


def _reset(node: _Node, raw: Any) -> Reset:
    if raw in ("before_body", "after_body", "during_reply"):
        return Reset(raw)
    raise node.error(f"must be before_body, after_body or during_reply, not {_brief(raw)}")


def _ingest_then(node: _Node, raw: Any) -> IngestThen:
    given = node.mapping(raw, ("reset", "reply"))
    if len(given) != 1:
        raise node.error("must hold one of reset, reply")
    if "reply" in given:
        return IngestThen(_answer(node.below("reply"), given["reply"]))
    reset = _reset(node.below("reset"), given["reset"])
    if reset.moment == "before_body":
        raise node.error("nothing can be ingested before the body; use after_body or during_reply")
    return IngestThen(reset)


_ACTIONS: Mapping[str, Callable[[_Node, Any], Action]] = {
    "reply": _answer,
    "reset": _reset,
    "redirect": lambda node, value: Redirect(node.text(value)),
    "truncate_reply": lambda node, value: node.true(value, TruncateReply()),
    "refuse_gzip": lambda node, value: node.true(value, RefuseGzip()),
    "hang": lambda node, value: Hang(node.number(value)),
    "ingest_then": _ingest_then,
}
