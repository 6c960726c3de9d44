"""configs/docker/Dockerfile, read as text: no image is built here."""

from __future__ import annotations

import json
import re
import shlex
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.deploy.manifests import CONFIGS, ROOT, image_parts

_FILE = CONFIGS / "docker/Dockerfile"


class Instruction(NamedTuple):
    """One instruction: its name in capitals, and the rest of its lines as one."""

    name: str
    rest: str


def instructions(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile, in their order, without comments."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Instruction(*line.split(None, 1)) for line in whole.splitlines()]


FILE = instructions(_FILE.read_text())


def rest_of(name: str) -> list[str]:
    return [each.rest for each in FILE if each.name == name]


def last_stage() -> list[Instruction]:
    start = max(index for index, each in enumerate(FILE) if each.name == "FROM")
    return FILE[start:]


def test_every_stage_begins_with_the_same_pinned_image() -> None:
    bases = {rest.split()[0] for rest in rest_of("FROM")}
    (base,) = bases
    name, pin = image_parts(base)
    assert name == "python"
    assert re.fullmatch(r"3\.11\.\d+-slim-\w+|sha256:[0-9a-f]{64}", pin)
    assert len(rest_of("FROM")) == 2


def test_it_runs_as_a_user_without_rights_that_is_given_as_a_number() -> None:
    user = [each.rest for each in last_stage() if each.name == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user[-1])
    order = [each.name for each in last_stage()]
    assert order.index("USER") > max(index for index, name in enumerate(order) if name in {"RUN", "COPY"})


def test_the_program_is_process_1_and_gets_the_signals_itself() -> None:
    (entry,) = rest_of("ENTRYPOINT")
    assert json.loads(entry) == ["/opt/braze-etl/bin/braze-etl"]
    assert "COPY --from=build /opt/braze-etl /opt/braze-etl" in [f"{e.name} {e.rest}" for e in last_stage()]


def test_bytecode_is_made_when_it_is_built_and_not_when_it_runs() -> None:
    compiled = " ".join(rest for rest in rest_of("RUN") if "compileall" in rest)
    assert "/opt/braze-etl/lib" in compiled
    assert "/usr/local/lib/python3.11" in compiled
    assert "PYTHONDONTWRITEBYTECODE=1" in " ".join(rest_of("ENV"))


def test_nothing_secret_is_built_into_it() -> None:
    for each in FILE:
        assert each.name not in {"ARG", "ADD"}
        assert not re.search(r"KEY|SECRET|TOKEN|PASSWORD", each.rest, re.IGNORECASE)


def test_packages_are_those_of_the_constraints() -> None:
    (wheels,) = [rest for rest in rest_of("RUN") if "pip wheel" in rest]
    assert "--constraint" in shlex.split(wheels)
    (install,) = [rest for rest in rest_of("RUN") if "pip install" in rest]
    assert "--no-index" in shlex.split(install)


def copied() -> list[str]:
    sources = [shlex.split(rest)[:-1] for rest in rest_of("COPY") if "--from" not in rest]
    return [source.rstrip("/") for group in sources for source in group]


@pytest.mark.parametrize("path", copied())
def test_what_is_copied_is_there_and_not_ignored(path: str) -> None:
    assert (ROOT / path).exists()
    assert not is_ignored(path)


@pytest.mark.parametrize("path", [".git", ".venv", "state", "tests", ".env", "docs", "configs"])
def test_nothing_else_goes_into_the_build(path: str) -> None:
    assert is_ignored(path)


def test_what_the_package_is_made_of_is_copied() -> None:
    named = re.findall(r'(?:readme|license-files) = \[?"([\w.]+)"', Path(ROOT / "pyproject.toml").read_text())
    assert {"pyproject.toml", *named} <= set(copied())


def is_ignored(path: str) -> bool:
    """What .dockerignore says of a path at the root: its last pattern that fits decides."""
    ignored = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip()
        if pattern and not pattern.startswith("#") and fnmatchcase(path, pattern.lstrip("!")):
            ignored = not pattern.startswith("!")
    return ignored
