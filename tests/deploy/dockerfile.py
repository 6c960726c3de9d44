"""configs/docker/Dockerfile as data, for tests."""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

from tests.deploy.manifests import CONFIGS


class Instruction(NamedTuple):
    """One instruction: its name in capitals, and the rest of its lines as one."""

    name: str
    rest: str


def _instructions(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile, in their order, without comments."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Instruction(*line.split(None, 1)) for line in whole.splitlines()]


FILE = _instructions((CONFIGS / "docker/Dockerfile").read_text())


def rest_of(name: str) -> list[str]:
    """What stands behind the instructions of a name."""
    return [each.rest for each in FILE if each.name == name]


def environment() -> dict[str, str]:
    """The variables that the image gives to the program."""
    words = (word for rest in rest_of("ENV") for word in shlex.split(rest))
    return dict(word.split("=", 1) for word in words)
