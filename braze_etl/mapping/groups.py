"""Words that stand for many: groups of event types and of fields, from `presets/groups.yaml`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from braze_etl.globs import selects

PII = "pii"


class Groups(BaseModel):
    """The file as it stands; its comments explain the keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    event_types: dict[str, tuple[str, ...]]
    pii: tuple[str, ...]
    urls: tuple[str, ...]
    json_texts: frozenset[str]
    lift: dict[str, dict[str, str]]
    never_lifted: tuple[str, ...]

    def expand_types(self, patterns: Iterable[str]) -> tuple[str, ...]:
        """Put the globs of `engagement` and `behavior` in the place of these words, also behind a `!`."""
        return tuple(
            mark + glob
            for pattern in patterns
            for mark, word in [("!", pattern[1:]) if pattern.startswith("!") else ("", pattern)]
            for glob in self.event_types.get(word, (word,))
        )

    def select(self, patterns: Iterable[str], event_type: str) -> bool:
        """Whether the globs, excludes and groups of *patterns* mean this type."""
        return selects(event_type, self.expand_types(patterns))


def read_yaml(name: str) -> Any:
    """Read `presets/<name>.yaml` as plain data."""
    text = resources.files("braze_etl.mapping").joinpath("presets", f"{name}.yaml").read_bytes()
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 -- both are safe


@cache
def load_groups() -> Groups:
    return Groups.model_validate(read_yaml("groups"))


def expand_types(patterns: Iterable[str]) -> tuple[str, ...]:
    """Put globs in the place of the groups that this release knows."""
    return load_groups().expand_types(patterns)
