"""configs/docker/Dockerfile, read as text: no image is built here."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from braze_etl import __version__
from tests.deploy.dockerfile import FILE, Instruction, rest_of
from tests.deploy.manifests import ROOT, image_parts


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


def pip(command: str) -> list[list[str]]:
    """The words behind `pip install` or `pip wheel`, wherever one is called."""
    lines = [line for rest in rest_of("RUN") for line in rest.split("&&")]
    return [shlex.split(line.partition(command)[2]) for line in lines if f"pip {command} " in line]


def test_packages_are_those_of_the_constraints_also_the_one_that_builds_the_wheel() -> None:
    """An isolated build would fetch the newest hatchling: pip's constraints hold for what is installed."""
    (wheels,) = pip("wheel")
    builder, program = pip("install")
    for words in (builder, wheels):
        assert words[words.index("--constraint") + 1] == "constraints.txt"
        assert words[words.index("--only-binary") + 1] == ":all:"
    assert "--no-build-isolation" in wheels
    assert "--no-index" in program
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().split()}
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert {re.split(r"[<>=]", each)[0] for each in needed} == {builder[-1]} <= pinned


def test_it_draws_the_report_and_is_the_image_of_scheduler_and_machines_too() -> None:
    assert pip("wheel")[0][-1] == ".[report,dask]"
    assert pip("install")[1][-1] == "braze-etl[report,dask]"


def test_its_labels_say_what_it_is() -> None:
    (labels,) = [dict(word.split("=", 1) for word in shlex.split(rest)) for rest in rest_of("LABEL")]
    facts = {name.removeprefix("org.opencontainers.image."): value for name, value in labels.items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert facts["title"] == project["name"]
    assert facts["version"] == __version__
    assert facts["licenses"] == project["license"]


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
