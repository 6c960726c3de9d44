"""What travels to a worker: settings with `${NAME}` in them, which it resolves from its own environment."""

from __future__ import annotations

import pickle
import secrets
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import boto3
import pytest
import yaml
from pydantic import BaseModel, SecretStr

from braze_etl.clock import SystemClock
from braze_etl.config.loading import Config
from braze_etl.config.yaml import KeyPath, dotted
from braze_etl.engine.executors.machine import prove, ship
from braze_etl.engine.exits import Stop
from braze_etl.errors import ConfigError, FileUnavailableError
from braze_etl.flows.currents_to_amplitude.flow import Request, open_run
from braze_etl.flows.currents_to_amplitude.settings import Settings, load_config
from braze_etl.flows.currents_to_amplitude.worker import worker_spec
from braze_etl.model import FileRef
from tests.s3_server import new_bucket
from tests.workplace import KEY, Workplace

ENDPOINT: KeyPath = ("amplitude", "endpoint")
_LEADS = {"api_key": "", "secret_key": "", "salt": "", "endpoint": "https://ann:"}
"""What stands before the secret in a value; an address else."""


def secret_paths(annotation: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """The paths of all settings that are secrets by their type."""
    if annotation is SecretStr:
        yield path
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            yield from secret_paths(field.annotation, (*path, field.alias or name))
    else:
        for part in get_args(annotation):
            yield from secret_paths(part, path)


def loaded(
    folder: Path,
    *,
    in_environment: bool,
    alone: bool = False,
    but: int | None = None,
    default: bool = False,
) -> tuple[Config[Settings], dict[str, str], list[str]]:
    """A configuration with every secret there is, the environment for it, and the secrets.

    With *alone*, a variable holds the whole value, and not the secret in it. The secret of number *but*
    stands in the file, or is the *default* of its variable.
    """
    data: dict[str, Any] = {"source": {"uri": "./export"}, "amplitude": {"region": "EU"}}
    environ, tokens = dict[str, str](), list[str]()
    for number, keys in enumerate([*secret_paths(Settings), ENDPOINT]):
        section: Any = data
        for part in keys[:-1]:
            section = section.setdefault(part, {})
        tokens.append(secrets.token_hex(16))
        name, url = f"SECRET_{number}", _LEADS.get(str(keys[-1]), "https://example.com/")
        value = url + tokens[-1] + ("@example.com/" if url.endswith(":") else "")
        environ[name] = value if alone else tokens[-1]
        if number == but:
            section[keys[-1]] = f"${{{name}:-{value}}}" if default else value
        elif in_environment:
            section[keys[-1]] = f"${{{name}}}" if alone else value.replace(tokens[-1], f"${{{name}}}")
        else:
            section[keys[-1]] = value
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(data))
    return load_config(path, environ), environ, tokens


def test_no_secret_travels_and_a_worker_opens_the_same_settings(tmp_path: Path) -> None:
    config, environ, tokens = loaded(tmp_path, in_environment=True)
    spec = worker_spec(config.unresolved, keep_payloads=False, rationed=False)
    pickled = pickle.dumps(spec)
    assert len(tokens) == 7
    assert [token for token in tokens if token.encode() in pickled] == []
    opened = pickle.loads(pickle.dumps(config.unresolved)).resolve(environ)
    for name in Settings.model_fields:
        assert getattr(opened, name) == getattr(config.settings, name), name
    assert opened.amplitude.api_key.get_secret_value() in tokens


def test_a_secret_in_the_file_itself_reaches_workers_all_the_same(tmp_path: Path) -> None:
    config, _, tokens = loaded(tmp_path, in_environment=False)
    assert pickle.loads(pickle.dumps(config.unresolved)).resolve({}) == config.settings
    assert config.settings.amplitude.api_key.get_secret_value() in tokens


def test_what_the_command_does_without_a_worker_does_without_too(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("source: {uri: ./export}\namplitude: {region: '${REGION}', api_key: '${KEY}'}\n")
    config = load_config(path, {})
    assert pickle.loads(pickle.dumps(config.unresolved)).resolve({}) == config.settings
    with pytest.raises(ConfigError, match="gives other values"):
        config.unresolved.resolve({"KEY": "k"})


def test_no_secret_is_in_the_bytes_of_a_shipment_and_its_settings_are_the_commands(tmp_path: Path) -> None:
    config, environ, tokens = loaded(tmp_path, in_environment=True, alone=True)
    spec = worker_spec(config.unresolved, keep_payloads=False, rationed=False)
    shipment = ship(spec, config.unresolved, environ)
    carried = pickle.dumps(shipment)
    assert len(tokens) == 7
    for token in tokens:
        for form in (token.encode(), bytes.fromhex(token), b64encode(token.encode())):
            assert form not in carried
    (spec,) = pickle.loads(shipment.serve).args
    (unresolved, *_) = spec.open.args
    opened = unresolved.resolve(environ)
    for name in Settings.model_fields:
        assert getattr(opened, name) == getattr(config.settings, name), name


@pytest.mark.parametrize("default", [False, True], ids=["written there", "a default"])
@pytest.mark.parametrize("number", range(7))
def test_a_secret_that_stands_in_the_configuration_is_named_and_not_shipped(
    tmp_path: Path, number: int, *, default: bool
) -> None:
    config, environ, tokens = loaded(tmp_path, in_environment=True, alone=True, but=number, default=default)
    spec = worker_spec(config.unresolved, keep_payloads=False, rationed=False)
    with pytest.raises(ConfigError) as refused:
        ship(spec, config.unresolved, environ)
    path = [*secret_paths(Settings), ENDPOINT][number]
    assert refused.value.message.startswith(f"{dotted(path)}: a secret stands in the configuration")
    assert tokens[number] not in f"{refused.value}"
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, None),
        ({"SECRET_0": ""}, "its environment lacks SECRET_0"),
        ({"SECRET_0": "x", "SECRET_2": "y"}, "its environment has another value for SECRET_0, SECRET_2"),
    ],
)
def test_a_machine_with_another_environment_is_unfit_and_the_variables_are_named(
    tmp_path: Path, changed: dict[str, str], words: str | None
) -> None:
    config, environ, _ = loaded(tmp_path, in_environment=True, alone=True)
    spec = worker_spec(config.unresolved, keep_payloads=False, rationed=False)
    shipment = ship(spec, config.unresolved, environ)
    unfit = shipment.unfit({**environ, **changed, "HOME": "elsewhere"})
    assert (unfit and unfit.cause) == words


def test_a_secret_in_the_file_itself_is_not_in_what_shows_the_configuration(tmp_path: Path) -> None:
    config, _, tokens = loaded(tmp_path, in_environment=False)
    assert [token for token in tokens if token in repr(config)] == []


def test_the_keys_of_a_mapping_file_travel_along(tmp_path: Path) -> None:
    (tmp_path / "mapping.yaml").write_text('send: ["users.messages.email.*"]\nidentity:\n  anonymous: ${N}\n')
    path = tmp_path / "config.yaml"
    path.write_text(
        f"source: {{uri: x}}\namplitude: {{region: US}}\nmapping: {{file: '{tmp_path}/${{M}}.yaml'}}\n"
    )
    environ = {"M": "mapping", "N": "braze_id"}
    config = load_config(path, environ)
    (tmp_path / "mapping.yaml").unlink()
    assert config.unresolved.resolve(environ) == config.settings
    assert config.settings.mapping.identity.anonymous == "braze_id"


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"N": "7"}, "needs the environment variable REGION"),
        ({"REGION": "EU", "N": "many"}, "amplitude.max_events"),
    ],
)
def test_an_environment_that_is_not_the_commands_is_told_in_words(
    tmp_path: Path, environ: dict[str, str], words: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("source: {uri: x}\namplitude:\n  region: ${REGION}\n  max_events: ${N}\n")
    config = load_config(path, {"REGION": "EU", "N": "7"})
    with pytest.raises(ConfigError, match=words):
        config.unresolved.resolve(environ)


def test_a_worker_that_would_send_with_another_key_than_the_command_ends(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("source: {uri: x}\namplitude: {region: EU, api_key: '${KEY}'}\n")
    unresolved = load_config(path, {"KEY": "0123456789abcdef"}).unresolved
    assert unresolved.resolve({"KEY": "0123456789abcdef", "OTHER": "x"})
    with pytest.raises(ConfigError, match="other values"):
        unresolved.resolve({"KEY": "fedcba9876543210"})


def test_a_variable_that_was_set_after_the_first_run_reaches_the_workers_of_the_next(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workplace.export(events=40, hours=1, duplicates=0)
    monkeypatch.chdir(workplace.folder)
    for name in ("FIRST", "SECOND"):
        monkeypatch.setenv(name, KEY)
        state = {"uri": f"sqlite:///{name}.db"}
        workplace.configure(workers=1, state=state, amplitude={"api_key": f"${{{name}}}"})
        config = load_config(workplace.folder / "config.yaml")
        with open_run(config, Request("run", covers_all=True), SystemClock(), Stop(), run_id="r1") as run:
            report = run.run()
        assert report.error is None
        assert report.events.accepted > 0


def test_who_sends_nothing_needs_no_amplitude(tmp_path: Path) -> None:
    amplitude = {"region": "US", "endpoint": "http://127.0.0.1:9", "api_key": "${KEY}"}
    config = load_config({"source": {"uri": str(tmp_path)}, "amplitude": amplitude}, {})
    reads = worker_spec(config.unresolved, keep_payloads=False, rationed=False, sends=False)
    assert prove(reads, None) is None
    assert worker_spec(config.unresolved, keep_payloads=False, rationed=False).reach().destination


def test_a_machine_is_not_to_blame_for_a_first_file_that_nobody_can_read_at_once(s3_server: str) -> None:
    bucket = new_bucket(s3_server)
    client = boto3.client("s3", endpoint_url=s3_server)
    client.put_object(Bucket=bucket.name, Key="in/cold.avro", Body=b"Obj1", StorageClass="GLACIER")
    source = {"uri": f"{bucket.uri}/in", "endpoint_url": s3_server}
    config = load_config({"source": source, "amplitude": {"region": "US"}}, {})
    spec = worker_spec(config.unresolved, keep_payloads=False, rationed=False, sends=False)
    hour = datetime(2026, 10, 1, tzinfo=UTC)
    cold, gone = (FileRef(f"in/{name}.avro", "", 4, hour, "Open", hour) for name in ("cold", "gone"))
    with pytest.raises(FileUnavailableError, match="is archived"):
        spec.reach().store.open(cold.key)
    assert prove(spec, cold) is None
    assert prove(spec, gone) is None
    client.delete_object(Bucket=bucket.name, Key=cold.key)
    assert "it finds nothing at the source" in str(prove(spec, gone))
