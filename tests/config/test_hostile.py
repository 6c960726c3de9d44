"""Files made to take for ever, or to end in a traceback: one clear sentence, and no secret in it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from braze_etl.errors import ConfigError
from braze_etl.flows.currents_to_amplitude.mapping import mapping_mistakes
from braze_etl.flows.currents_to_amplitude.settings import load_config
from braze_etl.sandbox.faults import FaultFileError, parse_faults

BASE = "source: {uri: x}\namplitude: {region: US}\n"
SECRET = "0123456789abcdef0123456789abcdef"
_SECONDS = 30.0
"""Seconds are promised; the test allows for a machine that does a dozen things at once."""


def laughs(seed: str, merge: str = "") -> str:
    each = "".join(
        f"a{i}: &a{i} {merge}[{','.join([f'*a{i - 1}'] * 9)}]{'}' * bool(merge)}\n" for i in range(1, 10)
    )
    return f"a0: &a0 {seed}\n{each}"


HOSTILE = {
    "aliases of aliases": (laughs("[x,x,x]"), "more than 20,000 values"),
    "merges of merges": (laughs("{b: 1}", "{<<: "), "more than 20,000 values"),
    "NUL": ("x: a\0b\n", "unacceptable character"),
    "NUL in quotes": ('pipeline: "a\\0b"\n', "line 3: pipeline holds NUL"),
    "half a character": ('pipeline: "\\ud800"\n', "line 3: pipeline holds NUL, or half a surrogate pair"),
    "brackets": ("x: " + "[" * 3000 + "]" * 3000, "nests too deep"),
    "braces": ("x: " + "{a: " * 3000 + "}" * 3000, "nests too deep"),
    "dashes": ("x:\n  " + "- " * 3000 + "1", "nests too deep"),
    "keys of keys": ("? " * 3000 + "1", "nests too deep"),
    "a list as a key": ("? [a, b]\n: 1\n", "a key must be a text"),
    "90,000 keys": ("".join(f"k{number}: 1\n" for number in range(90_000)), "more than 20,000 values"),
    "a million keys": ("".join(f"k{number}: 1\n" for number in range(1_000_000)), "larger than 1 MB"),
    "5,000 keys": ("".join(f"k{number}: 1\n" for number in range(5000)), "5,000 mistakes"),
    "the same key": (BASE * 500, "and 980 more"),
    "other documents": (f"---\n{BASE}" * 100, "no valid YAML"),
    "code": ("x: !!python/object/apply:os.system [exit]\n", "line 3: x is not known"),
    "a date that is none": ("pipeline: !!timestamp soon\n", "line 3: pipeline can't be read"),
    "a number that is none": ('workers: !!int ""\n', "line 3: workers can't be read"),
    "a bool that is none": ("workers: !!bool perhaps\n", "line 3: workers can't be read"),
    "a character that is none": (
        'pipeline: "\\UFFFFFFFF"\n',
        "an escape stands for no character",
    ),
    "a time of day without end": ("workers: 1" + ":1" * 300 + ".5", "line 3: workers can't be read"),
    "a number without end": ("workers: " + "9" * 5000, "line 3: workers can't be read"),
    "a duration without end": (f"window: {{objective: {'9' * 400}d}}\n", "longer than a calendar"),
    "a size without end": (f"budget: {{per_day: {'9' * 400}kk}}\n", "is no count"),
    "an hour before all": ("mapping: {time: {min: '0001-01-01T00:00+14:00'}}\n", "beyond the calendar"),
    "10,000 types": ("mapping: {choose: {include: [" + "t, " * 9000 + "]}}\n", "there is no event type t"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_is_made_to_harm_is_refused_within_seconds(name: str, tmp_path: Path) -> None:
    text, words = HOSTILE[name]
    path, began = tmp_path / "config.yaml", time.monotonic()
    path.write_text(BASE + text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {}, examine=mapping_mistakes)
    assert time.monotonic() - began < _SECONDS
    assert words in caught.value.message
    assert len(caught.value.message) < 4000
    assert caught.value.message.count("\n") <= 21


@pytest.mark.parametrize("data", [BASE.encode() + b"x: \xff", BASE.encode("utf-16"), b"#" * 2_000_000])
def test_what_is_no_text_of_a_sensible_size_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="can't be read"):
        load_config(path, {})
    mapping, path = path, tmp_path / "other.yaml"
    path.write_text(f"{BASE}mapping: {{file: {json.dumps(str(mapping))}}}\n")
    with pytest.raises(ConfigError, match="can't be read"):
        load_config(path, {})


@pytest.mark.parametrize(
    "text",
    [
        f"amplitude: {{region: {SECRET}}}",
        f"amplitude: {{region: US, api_key: [{SECRET}]}}",
        f"amplitude: {{region: US, api_key: {{{SECRET}: 1}}}}",
        f"amplitude: [{{api_key: {SECRET}}}]",
        f"amplitude: {SECRET}",
        f"amplitude: {{region: US, apikey: {SECRET}}}",
        f"amplitude: {{region: US, max_events: {SECRET}, timeout: {SECRET}, min_id_length: ${{KEY}}}}",
        f"amplitude: {{region: ${{KEY}}, endpoint: {SECRET}}}",
        f"amplitude: {{region: US, api_key: *{SECRET}}}",
        f"amplitude: {{region: US, api_key: !{SECRET} x}}",
        f"amplitude: {{region: US, api_key: &{SECRET} x, project: &{SECRET} y}}",
        f"amplitude: {{region: US, api_key: ${{NONE:-{SECRET}}}, gzip: ${{NONE:-{SECRET}}}}}",
        f"amplitude: {{region: US, api_key: '{SECRET}', 'api_key': '{SECRET}'}}",
        f"amplitude: {{region: US}}\nnotify: {{webhook: hooks.example.com/{SECRET}, on: [{SECRET}]}}",
        f"amplitude: {{region: US}}\nmetrics: {{pushgateway: {{url: a:{SECRET}@host}}, textfile: {SECRET}}}",
        f"amplitude: {{region: US}}\nmapping: {{privacy: {{salt: [{SECRET}]}}, preset: {SECRET}}}",
        f"amplitude: {{region: US}}\nstate: {{uri: 'https://anna:{SECRET}@host'}}",
        f"amplitude: {{region: US}}\nwindow: {{objective: '{SECRET}'}}\nworkers: {SECRET}",
        f"amplitude: {{region: US, 'api_key={SECRET}': }}",
        f"amplitude: {{region: US, '{SECRET}': 1}}\n{SECRET}: 1",
        f"amplitude: {{region: US}}\nmapping: {{choose: {{include: [{SECRET}]}}}}",
        "amplitude: {region: US, project: [${KEY}], rate: '${KEY}', max_bytes: 'x${KEY}'}",
    ],
)
def test_no_mistake_repeats_what_may_be_a_secret(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"source: {{uri: x}}\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path, {"KEY": SECRET}, examine=mapping_mistakes)
    assert SECRET not in caught.value.message
    assert "line" in caught.value.message


@pytest.mark.parametrize(
    "secret", ["Tr0ub4dor&3 horse", "xoxb-SLACKa-tokenb", "https://hooks.acme.example/a/b"]
)
def test_nor_a_value_that_may_be_one_by_its_form(secret: str, tmp_path: Path) -> None:
    path, value = tmp_path / "config.yaml", json.dumps(secret)
    for keys in ("region", "timeout", "max_bytes", "gzip", "rate", "endpoint", "max_events, give_up_after"):
        for text in (value, f"[{value}]", f"{{a: {value}}}"):
            wrong = ", ".join(f"{key}: {text}" for key in keys.split(", "))
            path.write_text(f"source: {{uri: x}}\namplitude: {{{wrong}}}\ndecoder: {text}\nnotify: {value}\n")
            with pytest.raises(ConfigError) as caught:
                load_config(path, {})
            assert secret[-6:] not in caught.value.message


@pytest.mark.parametrize("form", ['a"b\\cü&d e', "key/with+signs=="])
def test_nor_in_the_forms_that_others_write_it_in(form: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "source: {uri: x}\namplitude: {region: '${KEY}', max_events: '${KEY}', timeout: '${KEY}'}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path, {"KEY": form})
    for written in (form, json.dumps(form)[1:-1], repr(form)[1:-1]):
        assert written not in caught.value.message


@pytest.mark.parametrize(
    "text",
    ["- " + "[" * 3000, laughs("[x]"), "- do: {hang: !!int ''}", "- do: {reply: \0}", "- {do: !!bool x}"],
)
def test_a_fault_script_that_is_made_to_harm_is_refused(text: str) -> None:
    with pytest.raises(FaultFileError) as caught:
        parse_faults(text)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "text",
    [
        "amplitude: {region: US, 'api_key s3cr3t': }",
        "amplitude: {region: US}\nmapping: {privacy: {salt: 0777}}",
    ],
)
def test_nor_a_short_one_that_stands_where_secrets_do(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"source: {{uri: x}}\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert not {"s3cr3t", "0777", "511"} & set(caught.value.message.replace(";", " ").split())
