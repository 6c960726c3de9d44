"""Keys that can't be one, and addresses to which a key must not travel in the clear."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from braze_etl.config.loading import Config
from braze_etl.errors import ConfigError
from braze_etl.flows.currents_to_amplitude.settings import Settings, load_config

KEY = "0123456789abcdef0123456789abcdef"


def load(folder: Path, amplitude: dict[str, object], **environ: str) -> Config[Settings]:
    path = folder / "config.yaml"
    lines = "".join(f"  {name}: {json.dumps(value)}\n" for name, value in amplitude.items())
    path.write_text(f"source: {{uri: x}}\namplitude:\n  region: US\n{lines}")
    return load_config(path, environ)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (f"{KEY}\n", "a line end"),
        (f" {KEY}", "a blank"),
        (f"{KEY}\r\n", "a line end"),
        (f"{KEY[:9]} {KEY[9:]}", "a blank"),
        (f"{KEY[:9]}\n{KEY[9:]}", "a line end"),
        (f'"{KEY}"', "a quote"),
        (f"'{KEY}'", "a quote"),
        (f"\u201c{KEY}\u201d", "a quote"),
        (f"\u200b{KEY}", "a character"),
        (f"{KEY}ü", "a character"),
        ("$AMPLITUDE_API_KEY", "not resolved"),
        ("${AMPLITUDE-KEY}", "not resolved"),
        ("$(cat key)", "a blank"),
        ("{{amplitude_key}}", "not resolved"),
        ("%AMPLITUDE_API_KEY%", "not resolved"),
        ("<your_key>", "not resolved"),
    ],
)
@pytest.mark.parametrize("name", ["api_key", "secret_key"])
def test_a_key_that_can_be_none_is_a_mistake_that_is_not_shown(
    tmp_path: Path, name: str, key: str, words: str
) -> None:
    for given, environ in ((key, {}), ("${KEY}", {"KEY": key})):
        with pytest.raises(ConfigError) as caught:
            load(tmp_path, {name: given}, **environ)
        assert f"line 4: amplitude.{name} is wrong: the key" in caught.value.message
        assert words in caught.value.message
        assert key.strip() not in caught.value.message
        assert KEY not in caught.value.message


@pytest.mark.parametrize("key", [KEY, "any-key-will-do", "k", "key", "changeme", "key+/=&", "", "${UNSET}"])
def test_a_key_that_may_be_one_is_taken_as_it_is(tmp_path: Path, key: str) -> None:
    assert load(tmp_path, {"api_key": key}).settings.amplitude.api_key.get_secret_value() == key


@pytest.mark.parametrize(
    "url",
    [
        "http://amplitude.proxy:8080/batch",
        "http://10.0.0.7:8099",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://localhost@example.com",
        "http://[2001:db8::1]:8099",
        "http://sandbox:8099",
        "http://anna:s3cret@proxy/",
        "HTTP://PROXY/",
    ],
)
@pytest.mark.parametrize("name", ["endpoint", "read_endpoint"])
def test_http_to_another_machine_is_refused_unless_it_is_meant(tmp_path: Path, name: str, url: str) -> None:
    for given, environ in ((url, {}), ("${URL}", {"URL": url})):
        with pytest.raises(ConfigError) as caught:
            load(tmp_path, {name: given}, **environ)
        assert f"line 4: amplitude.{name}" in caught.value.message
        assert "amplitude.insecure: true" in caught.value.message
        assert "s3cret" not in caught.value.message
    for section in ({"insecure": True, name: url}, {name: url, "insecure": True}):
        assert getattr(load(tmp_path, section).settings.amplitude, name) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8099",
        "http://LOCALHOST.:8099",
        "http://127.0.0.1:8099/batch",
        "http://127.8.9.1",
        "http://[::1]:8099",
        "http://[::ffff:127.0.0.1]/",
        "http://sandbox.localhost",
        "https://proxy.example.com/batch",
        "${UNSET}",
    ],
)
def test_this_machine_and_https_need_no_permission(tmp_path: Path, url: str) -> None:
    assert load(tmp_path, {"endpoint": url}).settings.amplitude.endpoint == url


@pytest.mark.parametrize(
    "url", ["ftp://host", "host:8099", "https://", "https://[bad", "https://host:99999", "http:/x"]
)
def test_what_is_no_address_is_a_mistake(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match=r"line 4: amplitude\.endpoint is wrong"):
        load(tmp_path, {"endpoint": url})


def test_a_warning_that_comes_too_late_is_a_mistake(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    plain = "source: {uri: x}\namplitude: {region: US}\nwindow:\n"
    path.write_text(f"{plain}  warn_at: 30h\n  objective: 24h\n")
    with pytest.raises(ConfigError, match=r"line 4: window\.warn_at is wrong: it is above window\.objective"):
        load_config(path, {})
    path.write_text(f"{plain}  warn_at: 24h\n  objective: 24h\n")
    assert load_config(path, {})
