"""The configurations of configs/cron/ and configs/kubernetes/ are copied, and so on the safe side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from braze_etl.cli import cli
from braze_etl.commands.init.configuration import Group, group_of
from braze_etl.flows.currents_to_amplitude.mapping import load_mapping
from braze_etl.flows.currents_to_amplitude.settings import load_config
from fixtures.generate import ExportSpec, generate
from tests.deploy.manifests import CONFIGS

_EXAMPLES = [
    CONFIGS / "cron/braze-etl.yaml",
    CONFIGS / "kubernetes/overlays/production/settings/braze-etl.yaml",
]
_GIVEN = {"AMPLITUDE_API_KEY": "a-key", "NOTIFY_WEBHOOK": "https://hooks.example.com/1"}


@pytest.fixture(scope="module")
def of_init(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `init` writes for a source."""
    folder = tmp_path_factory.mktemp("init")
    generate(folder / "export", ExportSpec(events=50, hours=1))
    words = ["init", "--source", str(folder / "export"), "--region", "US", "-o", str(folder / "config.yaml")]
    result = CliRunner().invoke(cli, words, standalone_mode=False)
    assert result.exception is None, result.exception
    written: dict[str, Any] = yaml.safe_load((folder / "config.yaml").read_text())
    return written


@pytest.mark.parametrize("path", _EXAMPLES, ids=lambda path: path.parent.name)
def test_what_could_hurt_is_written_out_as_init_writes_it(path: Path, of_init: dict[str, Any]) -> None:
    example = yaml.safe_load(path.read_text())
    assert example["state"]["create"] == of_init["state"]["create"]
    for key in ("unknown_types", "unknown_fields", "test_events", "privacy"):
        assert example["mapping"][key] == of_init["mapping"][key]
    assert example["mapping"]["choose"]["exclude"] == of_init["mapping"]["choose"]["exclude"]
    assert load_config(path, _GIVEN).settings.budget.first_run_events


@pytest.mark.parametrize("path", _EXAMPLES, ids=lambda path: path.parent.name)
def test_only_what_came_of_messages_is_sent(path: Path) -> None:
    words = ["mapping", "list", "-c", str(path), "--output", "json"]
    types = yaml.safe_load(CliRunner().invoke(cli, words).output)["event_types"]
    sent = {name for name, facts in types.items() if facts["outcome"] == "sent"}
    mapping = load_mapping(load_config(path, _GIVEN).settings)
    assert {group_of(name, mapping) for name in sent} == {Group.OUTCOMES}


@pytest.mark.parametrize("path", _EXAMPLES, ids=lambda path: path.parent.name)
def test_somebody_learns_of_what_the_exit_code_does_not_tell(path: Path) -> None:
    """`--ok-exit 3,4` makes these green: so there are metrics, and addresses for who has no Prometheus."""
    settings = load_config(path, {**_GIVEN, "NOTIFY_DEAD_MAN": "https://ping.example.com/1"}).settings
    assert settings.metrics.textfile or settings.metrics.pushgateway.url
    assert settings.notify.webhook
    assert settings.notify.dead_man
