from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from braze_etl.errors import ConfigError
from braze_etl.flows.currents_to_amplitude.settings import Settings, load_config

PLAIN = "source: {uri: export}\namplitude: {region: US, api_key: k}\n"


def load(tmp_path: Path, text: str, **environ: str) -> Settings:
    path = tmp_path / "config.yaml"
    path.write_text(PLAIN + text)
    return load_config(path, environ).settings


def test_nobody_is_told_anything_by_default(tmp_path: Path) -> None:
    settings = load(tmp_path, "")
    assert (settings.metrics.textfile, settings.metrics.pushgateway.url) == (None, None)
    assert (settings.notify.webhook, settings.notify.dead_man) == (None, None)
    assert settings.notify.on == ("failed", "at_risk", "quarantined", "stale", "missing")
    assert settings.notify.repeat_every == timedelta(hours=24)
    assert settings.notify.timeout == settings.metrics.pushgateway.timeout == timedelta(seconds=10)


def test_addresses_come_from_the_environment_and_are_never_shown(tmp_path: Path) -> None:
    text = "notify: {webhook: '${HOOK}', dead_man: '${HOOK}'}\nmetrics: {pushgateway: {url: '${HOOK}'}}\n"
    settings = load(tmp_path, text, HOOK="https://hooks.test/s3cret")
    assert settings.notify.webhook is not None
    assert settings.notify.webhook.get_secret_value() == "https://hooks.test/s3cret"
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("notify: {webhook: s3cret}", "notify.webhook is wrong: no URL"),
        ("notify: {dead_man: [s3cret]}", "notify.dead_man"),
        ("metrics: {pushgateway: {url: s3cret}}", "metrics.pushgateway.url is wrong: no URL"),
        ("metrics: {textfile: braze.txt}", "does not end in .prom"),
        ("metrics: {pushgateway: {timeot: 1s}}", "metrics.pushgateway.timeout"),
        ("notify: {on: [fialed]}", "'failed'"),
        ("notify: {repeat_every: 0s}", "must be longer than 0s"),
        ("notify: {timeout: 0s}", "must be longer than 0s"),
    ],
)
def test_a_mistake_is_named_without_the_address(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert words in caught.value.message
    assert "s3cret" not in caught.value.message
