"""`braze-etl mapping` as its users have it: the command line, with and without a configuration."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from braze_etl.braze.currents.catalogue import load_catalogue
from tests.commands.conftest import Answer, Do

CONFIG: dict[str, Any] = {
    "source": {"uri": "export"},
    "amplitude": {"region": "US", "api_key": "${OWED_KEY}"},
}
OPEN = "users.messages.email.Open"


@pytest.fixture
def do(command_line: Do) -> Do:
    return partial(command_line, "mapping")


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., None]:
    def write(*, event_types: list[str] | None = None, **mapping: Any) -> None:
        source = {**CONFIG["source"], **({"event_types": event_types} if event_types else {})}
        (tmp_path / "config.yaml").write_text(
            yaml.safe_dump({**CONFIG, "source": source, "mapping": mapping})
        )

    return write


def as_json(answer: Answer) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(answer[1])
    return value


def test_without_a_configuration_the_defaults_are_shown(do: Do, tmp_path: Path) -> None:
    code, out, _ = do("list")
    assert code == 0
    assert "[Appboy] Email Open" in out
    assert "no: not_in_native" in out
    known = len(load_catalogue())
    assert f"preset native: {known - 7} of {known} event types are sent" in out
    assert list(tmp_path.iterdir()) == []


def test_the_configuration_decides_what_is_listed(do: Do, configure: Callable[..., None]) -> None:
    configure(preset="raw", unknown_types="hold", event_types=["users.messages.*"])
    listed = as_json(do("list", "-c", "config.yaml", "--output", "json"))
    assert (listed["exit_code"], listed["preset"]) == (0, "raw")
    assert listed["event_types"][OPEN]["name"] == OPEN
    assert listed["event_types"]["users.behaviors.Purchase"]["outcome"] == "source.event_types"


def test_one_type_is_shown_field_by_field(do: Do, configure: Callable[..., None]) -> None:
    configure(
        rules=[{"events": OPEN, "name": "Opened {campaign_name:-something}", "set": {"channel": "email"}}]
    )
    code, out, _ = do("show", OPEN, "-c", "config.yaml")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert ["in", "Amplitude", "Opened", "{campaign_name:-something}"] in lines
    assert ["campaign_id", "string?", "campaign_id", "preset", "native"] in lines
    assert '{"channel":"email"}' in out
    shown = as_json(do("show", OPEN, "-c", "config.yaml", "--output", "json"))
    assert shown["fields"]["id"] == {
        "type": "string",
        "personal": False,
        "becomes": ["top level: insert_id"],
        "rule": "identity",
    }


def test_a_type_that_the_mapping_brings_in_itself_is_shown(do: Do, configure: Callable[..., None]) -> None:
    configure(unknown_types="hold", send=["users.messages.pigeon.Coo", "!users.messages.crow.*"])
    code, out, _ = do("show", "users.messages.pigeon.Coo", "-c", "config.yaml")
    assert code == 0
    assert ["sent", "yes"] in [line.split() for line in out.splitlines()]
    listed = as_json(do("list", "-c", "config.yaml", "--output", "json"))["event_types"]
    assert listed["users.messages.pigeon.Coo"]["outcome"] == "sent"


def test_a_type_that_nobody_knows_is_shown_with_what_would_become_of_it(
    do: Do, configure: Callable[..., None]
) -> None:
    code, out, _ = do("show", "users.messages.email.Opne")
    assert code == 0
    assert "this release does not know the type" in out
    assert f"(did you mean {OPEN}?)" in " ".join(out.split())
    configure(unknown_types="hold", choose={"include": [{"events": OPEN}]})
    assert as_json(do("show", "users.messages.pigeon.Coo", "-c", "config.yaml", "--output", "json"))[
        "outcome"
    ] in {"not_selected", "held"}


def test_a_pattern_is_no_type_to_show(do: Do) -> None:
    code, out, err = do("show", "users.*")
    assert (code, out) == (2, "")
    assert "pattern" in err


@pytest.mark.parametrize("preset", ["native", "raw"])
def test_what_is_exported_is_checked_without_a_difference(
    preset: str, do: Do, configure: Callable[..., None]
) -> None:
    configure(preset=preset)
    code, out, _ = do("export", "-c", "config.yaml", "-o", "plan.csv")
    assert code == 0
    assert re.fullmatch(r"\d+ events written to plan.csv\n", out)
    assert do("check", "plan.csv", "-c", "config.yaml", "--strict") == (0, "no difference\n", "")
    found = as_json(do("check", "plan.csv", "-c", "config.yaml", "--output", "json"))
    assert (found["differs"], found["only_ours"], found["only_theirs"]) == (False, [], [])


def test_the_plan_goes_to_stdout_as_csv(do: Do) -> None:
    rows = list(csv.DictReader(io.StringIO(do("export")[1])))
    sends = [row for row in rows if row["Object Name"].endswith(" Send")]
    assert sends
    assert {row["Event Activity"] for row in sends} == {"Inactive"}


def test_a_plan_that_can_not_be_written_is_a_usage_error(do: Do) -> None:
    code, _, err = do("export", "-o", "no/such/folder/plan.csv")
    assert code == 2
    assert "can't be written" in err


@pytest.fixture
def exported_events(tmp_path: Path) -> Path:
    """A day of a project that the native connector feeds, as the Export API gives it."""
    events = [
        {
            "event_type": "[Appboy] Email Open",
            "library": "Braze",
            "event_properties": {"campaign_id": "c", "device_kind": "phone", "user_agent": 7},
        },
        {"event_type": "[Appboy] Send", "library": "Braze", "event_properties": {}},
        {"event_type": "[Appboy] [Custom Event] ate cake", "library": "Braze", "event_properties": {}},
        {"event_type": "Song Played", "library": "ios/1", "event_properties": {"title": "x"}},
    ]
    path = tmp_path / "day.json.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(event) + "\n" for event in events).encode()))
    return path


def test_a_difference_is_an_answer_and_only_with_strict_a_code(do: Do, exported_events: Path) -> None:
    code, out, _ = do("check", "day.json.gz")
    assert code == 0
    assert "near theirs '[Appboy] Send': differs in the word" in out
    assert "not seen in the events" in out
    assert "[Appboy] Email Open: device_kind" in out
    assert "string with us, number with them" in out
    assert "1 events of theirs do not look like Braze's" in out
    assert do("check", "day.json.gz", "--strict")[0] == 3


def test_the_differences_are_there_for_machines_too(do: Do, exported_events: Path) -> None:
    answer = do("check", "day.json.gz", "--strict", "--output", "json")
    found = as_json(answer)
    assert (answer[0], found["exit_code"], found["events_read"], found["complete"]) == (3, 3, 4, False)
    assert found["only_theirs"] == ["[Appboy] Send"]
    assert found["others"] == ["Song Played"]
    opened = found["events"]["[Appboy] Email Open"]
    assert opened["only_theirs"] == ["device_kind"]
    assert opened["types"] == {"user_agent": {"ours": "string", "theirs": "number"}}


@pytest.mark.parametrize(
    "words",
    [("check",), ("check", "nowhere.csv"), ("check", "bad.csv"), ("show",), ("list", "-c", "nowhere.yaml")],
)
def test_bad_usage_is_two_with_a_remedy(do: Do, words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    code, out, err = do(*words)
    assert (code, out) == (2, "")
    assert "remedy: " in err
