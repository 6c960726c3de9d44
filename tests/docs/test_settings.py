"""Every configuration in the documents is one that the program takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from braze_etl.commands._options import checked_config
from braze_etl.flows.currents_to_amplitude.settings import Settings
from tests.docs.pages import PAGES, Block, blocks, name

_PLAINEST = {
    "source": {"uri": "export"},
    "amplitude": {"region": "US", "api_key": "${AMPLITUDE_API_KEY}"},
}
_VARIABLES = {
    "AMPLITUDE_API_KEY": "any-key",
    "BRAZE_ETL_SALT": "a salt",
    "PRIVACY_SALT": "a salt",
    "SLACK_WEBHOOK": "https://hooks.example/1",
    "HEALTHCHECK_URL": "https://ping.example/1",
}
_BLOCKS = [block for page in PAGES for block in blocks(page) if block.language == "yaml"]


def laid_over(block: Block) -> str:
    """The block, with the required keys that it leaves out: its own lines come first, as they are."""
    given = yaml.safe_load(block.text)
    rest = {section: keys for section, keys in _PLAINEST.items() if section not in given}
    for section in set(_PLAINEST) & set(given):
        assert not set(_PLAINEST[section]) - set(given[section]) - {"api_key"}, (
            "a section without its required keys"
        )
    return block.text + (yaml.safe_dump(rest) if rest else "")


def is_configuration(block: Block) -> bool:
    """Whether the block has keys of the configuration."""
    keys = yaml.safe_load(block.text)
    return isinstance(keys, dict) and bool(set(keys) & set(Settings.model_fields))


def test_there_are_configurations() -> None:
    assert len([block for block in _BLOCKS if is_configuration(block)]) > 10


@pytest.mark.parametrize("block", _BLOCKS, ids=str)
def test_the_configuration_is_valid(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_configuration(block), "a block of YAML that is no configuration: mark it as text"
    for variable, value in _VARIABLES.items():
        monkeypatch.setenv(variable, value)
    path = tmp_path / "config.yaml"
    path.write_text(laid_over(block))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/mapping.yaml").touch()  # the name that the pages give to a mapping file
    assert checked_config(path).unset == {}


def test_every_page_ends_its_blocks() -> None:
    assert [name(page) for page in PAGES if page.read_text().count("\n```") % 2] == []
