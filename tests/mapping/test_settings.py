"""The mapping section: its examples in the documentation, and what an editor knows of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from braze_etl.config.loading import json_schema
from braze_etl.config.yaml import YamlReader
from braze_etl.flows.currents_to_amplitude.mapping import failed_tests, mapping_mistakes
from braze_etl.flows.currents_to_amplitude.settings import Settings, load_config

DOCS = Path(__file__).parents[2] / "docs"
BEGINNING = "source: {uri: export}\namplitude: {region: US}\n"


def examples() -> list[Any]:
    """Each block of YAML with a mapping that a page of the documentation shows."""
    return [
        pytest.param(block, id=f"{page.stem}-{number}")
        for page in sorted(DOCS.glob("*.md"))
        for number, block in enumerate(
            re.findall(r"```yaml\n(mapping:\n.*?)```", page.read_text("utf-8"), re.DOTALL), 1
        )
    ]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    Path("configs/mapping.yaml").write_text("preset: raw\n")


@pytest.mark.parametrize("block", examples())
def test_every_example_of_the_documentation_is_a_valid_mapping(block: str) -> None:
    Path("config.yaml").write_text(BEGINNING + block)
    config = load_config(Path("config.yaml"), {}, examine=mapping_mistakes)
    assert failed_tests(config) == []


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json_schema(Settings)


def faults(schema: dict[str, Any], text: str) -> list[str]:
    """What an editor would underline."""
    validator = Draft202012Validator(schema)
    data = json.loads(json.dumps(YamlReader().read(text), default=str))  # to editors, dates are texts
    return [error.json_path for error in validator.iter_errors(data)]


@pytest.mark.parametrize("block", examples())
def test_an_editor_finds_no_fault_with_the_examples(schema: dict[str, Any], block: str) -> None:
    assert faults(schema, BEGINNING + block) == []


@pytest.mark.parametrize(
    ("mapping", "path"),
    [
        ("{prest: raw}", "$.mapping"),
        ("{preset: nativ}", "$.mapping.preset"),
        ("{unknown_types: keep}", "$.mapping.unknown_types"),
        ("{rules: [{renames: {a: b}}]}", "$.mapping.rules[0]"),
        ("{rules: [{lift: devices}]}", "$.mapping.rules[0].lift"),
        ("{rules: [{set: {a: [1]}}]}", "$.mapping.rules[0].set.a"),
        ("{choose: {include: [{events: [1]}]}}", "$.mapping.choose.include[0]"),
        ("{choose: {exclude: [{where: {name: {a: b}}}]}}", "$.mapping.choose.exclude[0]"),
        ("{privacy: {dropp: pii}}", "$.mapping.privacy"),
        ("{time: {max_future: 30}}", "$.mapping.time.max_future"),
    ],
)
def test_an_editor_finds_the_mistakes(schema: dict[str, Any], mapping: str, path: str) -> None:
    assert faults(schema, f"{BEGINNING}mapping: {mapping}\n") == [path]


def test_an_editor_explains_every_key_of_a_rule(schema: dict[str, Any]) -> None:
    rule = schema["$defs"]["Rule"]["properties"]
    assert {"name", "parse", "lift", "add", "keep", "drop", "rename", "copy", "values", "set"} < rule.keys()
    assert [key for key, facts in rule.items() if not facts.get("description")] == []
