"""`braze-etl config` for authors of a mapping: its tests are run, its secrets stay secret."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from braze_etl.cli import run_command_line

BEGINNING = "source: {uri: export}\namplitude: {region: US}\nmapping: {file: mapping.yaml}\n"
MAPPING = """\
choose:
  exclude:
    - events: users.messages.email.Open
      where: {machine_open: "*"}
rules:
  - {drop: campaign_name, set: {channel: mail}}
privacy: {hash: email_address, salt: "${PRIVACY_SALT}"}
tests:
  - test: machines stay out
    event_type: users.messages.email.Open
    record: {machine_open: "true"}
    not_sent: not_selected
  - event_type: users.messages.email.Open
    record: {campaign_name: Spring}
    event: {event_type: "[Appboy] Email Open", event_properties: {channel: mail, campaign_name: null}}
"""

Answer: TypeAlias = tuple[int, str, str]
Check: TypeAlias = Callable[..., Answer]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PRIVACY_SALT", raising=False)
    Path("config.yaml").write_text(BEGINNING)

    def command(mapping: str, *words: str) -> Answer:
        Path("mapping.yaml").write_text(mapping)
        with pytest.raises(SystemExit) as ended:
            run_command_line(("config", "check", "-c", "config.yaml", *words))
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return int(ended.value.code or 0), out, err

    return command


def test_a_mapping_whose_tests_pass_is_valid(check: Check) -> None:
    code, out, _ = check(MAPPING)
    assert code == 0
    assert "config.yaml is valid, and its 2 tests of the mapping pass" in out
    assert "not set here: PRIVACY_SALT" in out
    facts = json.loads(check(MAPPING, "--output", "json")[1])
    assert (facts["valid"], facts["tests"], facts["unset_variables"]) == (True, 2, ["PRIVACY_SALT"])


FAILING = [
    (
        'machine_open: "true"}',
        "machine_open: null}",
        "mapping.yaml line 9: machines stay out: sent as '[Appboy] Email Open', and must not be: ",
    ),
    (
        "not_sent: not_selected",
        "not_sent: held",
        "machines stay out: not sent: not_selected (excluded by choose.exclude 1 (machine_open: *))",
    ),
    (
        "channel: mail,",
        "channel: push,",
        "mapping.yaml line 13: users.messages.email.Open: channel is 'mail', and must be 'push'",
    ),
    ("campaign_name: null}}", "campaign_name: Spring}}", "campaign_name is None, and must be 'Spring'"),
    ("Email Open", "Mail Open", "event_type is '[Appboy] Email Open', and must be '[Appboy] Mail Open'"),
    ("campaign_name: Spring}\n", "machine_open: a}\n", "users.messages.email.Open: not sent: not_selected"),
]


@pytest.mark.parametrize(("stated", "instead", "words"), FAILING)
def test_a_test_that_fails_is_named_with_its_line_and_the_difference(
    check: Check, stated: str, instead: str, words: str
) -> None:
    assert stated in MAPPING
    code, out, err = check(MAPPING.replace(stated, instead))
    assert (code, out) == (2, "")
    assert "1 of 2 tests of the mapping failed" in err
    assert words in " ".join(err.split())


def test_for_machines_a_failed_check_is_one_object(check: Check) -> None:
    code, out, _ = check(MAPPING.replace("not_selected", "held"), "--output", "json")
    error: dict[str, Any] = json.loads(out)["error"]
    assert code == 2
    assert "machines stay out" in error["message"]
    assert error["remedy"]


def test_a_mistake_is_said_before_any_test_is_run(check: Check) -> None:
    code, _, err = check(MAPPING.replace("drop: campaign_name", "drop: campaign_nam"))
    assert code == 2
    assert "mapping.yaml line 6: rule 1: there is no field campaign_nam; the nearest is campaign_name" in err
    assert "tests of the mapping" not in err


def test_the_salt_is_never_printed(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIVACY_SALT", "very-secret")
    for mapping in (MAPPING, MAPPING.replace("not_selected", "held"), MAPPING.replace("hash:", "hsh:")):
        assert "very-secret" not in "".join(check(mapping)[1:])


def test_without_its_salt_nothing_is_previewed(
    check: Check, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    check(MAPPING)
    with pytest.raises(SystemExit) as ended:
        run_command_line(("preview", "some.avro", "-c", "config.yaml"))
    assert ended.value.code == 2
    assert "PRIVACY_SALT: it is not set" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("mapping", "why"),
    [
        (
            "send: [users.UserOrphan]\nchoose: {include: [{events: users.messages.*}]}",
            "choose does not select",
        ),
        (
            "send: [users.UserOrphan]\nchoose: {exclude: [{events: users.UserOrphan}]}",
            "choose does not select",
        ),
        ("send: [users.UserOrphan]", None),
        ("send: ['users.messages.pigeon.*']\nchoose: {include: [{events: users.UserOrphan}]}", None),
    ],
)
def test_a_type_that_is_named_to_be_sent_and_is_not_chosen_is_a_warning(
    check: Check, mapping: str, why: str | None
) -> None:
    code, out, _ = check(mapping)
    assert code == 0
    told = [line for line in out.splitlines() if line.startswith("warning: mapping.send names")]
    assert [why is not None and why in line for line in told] == ([] if why is None else [True])
    facts = json.loads(check(mapping, "--output", "json")[1])
    assert list(facts["sent_in_vain"]) == ([] if why is None else ["users.UserOrphan"])


def test_a_selection_that_leaves_nothing_is_told(check: Check) -> None:
    Path("config.yaml").write_text(
        "source: {uri: export, event_types: ['users.messages.*', '!users.*']}\namplitude: {region: US}\n"
        "mapping: {file: mapping.yaml}\n"
    )
    code, out, _ = check("preset: native\n")
    assert code == 0
    assert "source.event_types: it selects no event type that this release knows" in out


@pytest.mark.parametrize("key", ["changeme", "YOUR_AMPLITUDE_API_KEY", "xxxxxxxx"])
def test_a_key_that_may_have_to_be_written_yet_is_told_and_not_shown(check: Check, key: str) -> None:
    Path("config.yaml").write_text(f"source: {{uri: export}}\namplitude: {{region: US, api_key: {key}}}\n")
    code, out, _ = check("preset: native\n")
    assert code == 0
    assert "line 2: amplitude.api_key: it looks like a stand-in" in out
    assert key not in out


def test_what_is_probably_not_meant_is_told_with_its_line_and_is_no_mistake(check: Check) -> None:
    Path("config.yaml").write_text(
        "source:\n  uri: export\n  start_at: 2999-01-01\n"
        "  event_types: [users.mesages.*, '!users.messages.email.Opens', 'users.messages.sms.*']\n"
        "amplitude: {region: US}\nwindow: {objective: 12h}\nbudget: {stop: ['users.sms*']}\n"
        "notify: {webhook: http://chat.example.com/hook-a1b2}\nmapping: {file: mapping.yaml}\n"
    )
    code, out, _ = check("choose: {include: [engagement, 'users.mail.*']}\n")
    warnings = [line for line in out.splitlines() if line.startswith("warning")]
    assert code == 0
    assert [line.split(": ")[2] for line in warnings] == [
        *("amplitude.api_key", "source.start_at", "window.objective", "notify.webhook"),
        *("source.event_types[0]", "source.event_types[1]"),
        *("mapping.choose.include[1].events[0]", "budget.stop[0]"),
    ]
    assert "warning: line 3: source.start_at: 2999-01-01T00:00:00Z lies in the future" in out
    assert "users.mesages.* matches no event type that this release knows; the nearest is users.m" in out
    assert "hook-a1b2" not in out
    told = json.loads(check("choose: {include: [users.mail.*]}\n", "--output", "json")[1])["warnings"]
    assert told[1]["place"] == "line 3"
    assert {"key", "place", "message"} == told[0].keys()
