"""The habits of the project hold: make help, git hooks, versions."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import yaml

from braze_etl import __version__
from tests.docs.pages import PAGES, ROOT, name

_VERSION = re.compile(
    r"""(?:braze[-_]etl[:-]|newTag: |image\.version=|__version__ = )"?v?(\d+\.\d+[\w.-]*\w)"""
)
_TARGET = re.compile(r"^([a-z]+):", re.MULTILINE)


def test_make_help_lists_every_target() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^  make (\w+)", listed, re.MULTILINE) == _TARGET.findall(
        (ROOT / "Makefile").read_text()
    )


def test_every_target_without_a_file_is_phony() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert set(phony[0].split()) == set(_TARGET.findall(makefile))


def test_the_hooks_use_the_environment_of_make_and_no_network() -> None:
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    for hook in repositories[0]["hooks"]:
        assert hook["language"] == "system"
        assert Path(hook["entry"].split()[0]).parent == Path(".venv/bin")


def test_every_file_with_a_version_has_this_one_and_stands_in_the_steps_of_a_release() -> None:
    found = {name(path): set(_VERSION.findall(path.read_text())) for path in _versioned()}
    found = {path: versions for path, versions in found.items() if versions}
    assert {path: versions for path, versions in found.items() if versions != {__version__}} == {}
    steps = (ROOT / "CONTRIBUTING.md").read_text().partition("## To release")[2]
    assert set(found) == set(re.findall(r"`([\w/]+\.\w+|[\w/]+/Dockerfile)`", steps))


def _versioned() -> Iterator[Path]:
    """The files that may name the version: the package's, the examples, and the pages."""
    yield ROOT / "braze_etl/__init__.py"
    yield from (path for path in (ROOT / "configs").rglob("*") if path.is_file() and path.suffix != ".pyc")
    yield from PAGES


def test_the_version_is_a_semantic_one_and_the_changelog_begins_with_what_is_new() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(-[\w.]+)?", __version__)
    first = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    assert first == "Unreleased" or first.startswith(__version__)
