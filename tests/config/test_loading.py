from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import pytest

from braze_etl.config.loading import Config
from braze_etl.errors import ConfigError
from braze_etl.flows.currents_to_amplitude.settings import Settings, load_config

Load: TypeAlias = Callable[..., Config[Settings]]

SMALLEST = """
source:
  uri: ./export
amplitude:
  region: EU
"""


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def loaded(text: str, **environ: str) -> Config[Settings]:
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return load_config(path, environ)

    return loaded


def mistakes(load: Load, text: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(text, **environ)
    assert caught.value.exit_code == 2
    return caught.value.message


def test_the_smallest_configuration_has_the_documented_defaults(load: Load) -> None:
    settings = load(SMALLEST).settings
    assert settings.pipeline == "default"
    assert settings.source.lookback == timedelta(days=7)
    assert settings.window.objective == timedelta(hours=48)
    assert settings.amplitude.max_events == 2000
    assert settings.amplitude.max_bytes == 18_000_000
    assert settings.amplitude.timeout == timedelta(seconds=20)
    assert settings.state.uri == "sqlite:///state/braze-etl.db"
    assert settings.mapping.identity.anonymous == "device"
    assert settings.workers == "auto"


@pytest.mark.parametrize("uri", ["foo/bar", "/abs/x.db", "sqlite:///state/", "sqlite:///:memory:", "s3://"])
def test_a_state_that_no_command_could_use_is_a_mistake_with_its_line(load: Load, uri: str) -> None:
    words = mistakes(load, f"{SMALLEST}state:\n  uri: {json.dumps(uri)}\n")
    assert f"line 7: state.uri is wrong: '{uri}' is no place for a ledger" in words


@pytest.mark.parametrize(
    "uri", ["sqlite:////data/x.db", "s3://acme/x", "memory://", "${STATE}", "s3://${B}/x"]
)
def test_a_state_that_can_be_used_or_waits_for_the_environment_is_none(load: Load, uri: str) -> None:
    assert load(f"{SMALLEST}state:\n  uri: {json.dumps(uri)}\n").settings.state.uri == uri


@pytest.mark.parametrize(
    "uri",
    ["gs://x", "http://x/y", "s3://", "s3:///x", "file://host/x", "", "s3:/acme/x", "$HOME/x", "s3://a b/x"],
)
def test_files_that_no_store_could_hold_are_a_mistake_with_its_line(load: Load, uri: str) -> None:
    words = mistakes(load, f"{SMALLEST}quarantine:\n  uri: {json.dumps(uri)}\n")
    assert f"line 7: quarantine.uri is wrong: '{uri}' is no place for files" in words
    assert "source.uri" in mistakes(load, f'source: {{uri: "{uri}"}}\namplitude: {{region: US}}\n')


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("s3:/acme-currents/currents", "write s3://acme-currents/currents"),
        ("$HOME/currents", "$HOME is not replaced; write ${HOME}"),
        ("${HOME/currents", "${ without a variable's name and }"),
    ],
)
def test_a_uri_that_would_be_taken_for_a_folder_is_told_with_what_was_meant(
    load: Load, uri: str, words: str
) -> None:
    for place in (
        f"{SMALLEST}quarantine: {{uri: '{uri}'}}",
        f"{SMALLEST}mapping: {{privacy: {{suppress: '{uri}'}}}}",
        f"{SMALLEST}mapping: {{identity: {{lookup: {{uri: '{uri}', value_column: id}}}}}}",
    ):
        found = mistakes(load, place)
        assert "line 6: " in found
        assert words in found


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("sqlite:///$HOME/x.db", "write ${HOME}"),
        ("sqlite:///~/x.db", "~ is not replaced"),
        ("s3:/acme/x", "no place for a ledger"),
        ("s3://acme:9000/x", "can't be the name of a bucket"),
    ],
)
def test_so_is_that_of_a_ledger(load: Load, uri: str, words: str) -> None:
    assert words in mistakes(load, f"{SMALLEST}state: {{uri: '{uri}'}}")


def test_a_scheme_in_capitals_is_the_same_scheme(load: Load) -> None:
    settings = load(f"{SMALLEST}state: {{uri: 'S3://acme/x'}}\nquarantine: {{uri: 'S3://acme/Y/'}}").settings
    assert (settings.state.uri, settings.quarantine.uri) == ("s3://acme/x", "s3://acme/Y/")


def test_a_password_in_the_address_of_a_store_is_refused_and_not_shown(load: Load) -> None:
    words = mistakes(load, f"{SMALLEST}quarantine:\n  endpoint_url: https://anna:s3cret@minio:9000/\n")
    assert "line 7: quarantine.endpoint_url" in words
    assert "holds a password" in words
    assert "s3cret" not in words


def test_all_mistakes_come_at_once_each_with_its_line(load: Load) -> None:
    words = mistakes(
        load,
        "source:\n  uri: x\n  lookbak: 7d\n  settle: 5\n"
        "amplitude:\n  region: ASIA\n  max_bytes: 30MB\nworkers: none\n",
    )
    assert "5 mistakes" in words
    assert "line 3: source.lookbak is not known; the nearest known key is source.lookback" in words
    assert "line 4: source.settle is wrong: 5 is no duration" in words
    assert "line 6: amplitude.region must be 'US' or 'EU', not 'ASIA'" in words
    assert "line 7: amplitude.max_bytes must be less than or equal to 20000000" in words
    assert "line 8: workers is wrong: 'none' names no workers" in words


def test_places_that_other_machines_can_not_reach_are_mistakes_each_with_its_line(load: Load) -> None:
    words = mistakes(load, f"{SMALLEST}workers: dask://scheduler:8786\n")
    assert "line 3: source.uri: ./export is a place of this machine alone" in words
    assert "quarantine.uri: state/quarantine is a place of this machine alone" in words
    shared = "source: {uri: s3://acme/x}\nquarantine: {uri: s3://acme/y}\namplitude: {region: US}\n"
    workers = "workers: ${BRAZE_ETL_WORKERS:-dask+tls://scheduler:8786}\n"
    assert load(shared + workers).settings.workers == "dask+tls://scheduler:8786"
    assert load(shared + workers, BRAZE_ETL_WORKERS="2").settings.workers == 2


def test_a_missing_section_is_named(load: Load) -> None:
    words = mistakes(load, "pipeline: p\n")
    assert "source is required" in words
    assert "amplitude is required" in words


def test_a_key_that_is_given_twice_is_a_mistake(load: Load) -> None:
    assert "line 6: amplitude.region is given twice" in mistakes(load, SMALLEST + "  region: US\n")


@pytest.mark.parametrize("text", ["a: [", "- a list", "just words", "\tx: 1", ""])
def test_what_is_no_mapping_is_a_clear_mistake(load: Load, text: str) -> None:
    assert "mistake" in mistakes(load, text)


def test_a_missing_file_says_where_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read") as caught:
        load_config(tmp_path / "nowhere.yaml", {})
    assert "BRAZE_ETL_CONFIG" in caught.value.remedy


def test_the_environment_is_read_inside_scalars(load: Load) -> None:
    text = "source:\n  uri: s3://${BUCKET}/${PREFIX:-currents}\n"
    text += "amplitude:\n  region: ${REGION}\n  max_events: ${N}\n"
    settings = load(text, BUCKET="acme", REGION="EU", N="500").settings
    assert settings.source.uri == "s3://acme/currents"
    assert settings.amplitude.region == "EU"
    assert settings.amplitude.max_events == 500


def test_an_unset_variable_matters_only_to_who_needs_its_value(load: Load) -> None:
    config = load(
        "source:\n  uri: ${URI}\n  start_at: ${START}\namplitude:\n  region: ${REGION}\n  api_key: ${KEY}\n"
    )
    config.require("mapping", "window")
    with pytest.raises(ConfigError) as caught:
        config.require("source", "amplitude.region")
    assert "line 2: source.uri needs the environment variable URI" in caught.value.message
    assert "REGION" in caught.value.message
    assert "KEY" not in caught.value.message


def test_the_environment_does_not_reach_what_looks_like_yaml(load: Load) -> None:
    settings = load("source:\n  uri: ${URI}\namplitude:\n  region: US\n", URI="a: {b}").settings
    assert settings.source.uri == "a: {b}"


def test_the_key_is_never_printed(load: Load) -> None:
    settings = load(SMALLEST + "  api_key: ${KEY}\n", KEY="s3cr3t-key").settings
    assert "s3cr3t" not in repr(settings)
    assert "s3cr3t" not in settings.model_dump_json()
    assert settings.amplitude.api_key.get_secret_value() == "s3cr3t-key"
    words = mistakes(load, SMALLEST + "  api_key: [s3cr3t-key]\n")
    assert "s3cr3t" not in words


def test_a_start_may_be_a_yaml_date(load: Load) -> None:
    settings = load("source:\n  uri: x\n  start_at: 2026-10-01\namplitude:\n  region: US\n").settings
    assert settings.source.start_at == datetime(2026, 10, 1, tzinfo=UTC)


def test_settings_travel_to_worker_processes(load: Load) -> None:
    settings = load(SMALLEST).settings
    assert pickle.loads(pickle.dumps(settings)) == settings
