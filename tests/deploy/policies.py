"""IAM policies as far as ours go: Allow, actions, resources, and conditions on the prefix of a listing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

AWS = Path(__file__).parents[2] / "configs/aws"
_CONDITIONS = {"StringLike", "StringLikeIfExists"}


@dataclass(frozen=True)
class Need:
    """One right that a request needs; `prefix` is that of a listing, None where the request has none."""

    action: str
    resource: str
    prefix: str | None = None


@dataclass(frozen=True)
class Grant:
    """One right that a policy gives: an action on a resource, for some prefixes (empty: no condition)."""

    action: str
    resource: str
    prefixes: tuple[str, ...] = ()
    without_prefix: bool = True

    def covers(self, need: Need) -> bool:
        return (
            self.action == need.action
            and fnmatchcase(need.resource, self.resource)
            and self._holds(need.prefix)
        )

    def _holds(self, prefix: str | None) -> bool:
        if prefix is None:
            return self.without_prefix
        return not self.prefixes or any(fnmatchcase(prefix, each) for each in self.prefixes)

    def parts(self) -> Iterator[Grant]:
        """The same, a part for each prefix: each of them has to be needed."""
        if not self.prefixes:
            yield self
        for prefix in self.prefixes:
            yield Grant(self.action, self.resource, (prefix,), self.without_prefix)


def policy(name: str) -> dict[str, Any]:
    """A policy of configs/aws/."""
    document: dict[str, Any] = json.loads((AWS / name).read_text())
    return document


def grants(*names: str) -> list[Grant]:
    """What these policies allow."""
    return [
        grant
        for name in names
        for statement in policy(name)["Statement"]
        for grant in _of_statement(statement)
    ]


def allowed(need: Need, given: Iterable[Grant]) -> bool:
    return any(grant.covers(need) for grant in given)


def _of_statement(statement: dict[str, Any]) -> Iterator[Grant]:
    assert statement["Effect"] == "Allow"
    assert statement.keys() <= {"Sid", "Effect", "Action", "Resource", "Condition"}
    condition = statement.get("Condition", {})
    assert condition.keys() <= _CONDITIONS, "this reader does not know that condition"
    prefixes = tuple(each for test in condition.values() for each in listed(test["s3:prefix"]))
    for action in listed(statement["Action"]):
        assert "*" not in action
        for resource in listed(statement["Resource"]):
            yield Grant(action, resource, prefixes, "StringLike" not in condition)


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
