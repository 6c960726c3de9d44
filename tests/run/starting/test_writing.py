from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from braze_etl.clock import ManualClock
from braze_etl.config import Config, Settings, load_config
from braze_etl.errors import UsageError
from braze_etl.run.assembly import load_mapping, mapping_mistakes
from braze_etl.run.starting import Choices, Survey, configuration, survey
from tests.run.starting.conftest import WriteFile

OPEN, SEND = "users.messages.email.Open", "users.messages.email.Send"
CUSTOM, NEW = "users.behaviors.CustomEvent", "users.messages.pigeon.Coo"


@pytest.fixture
def found(settings: Settings, clock: ManualClock, write_file: WriteFile) -> Survey:
    for event_type in (OPEN, SEND, CUSTOM):
        for number in range(10):
            write_file(event_type, f"2026-10-03-0{number}", 100)
    return survey(settings, clock, days=2)


def loaded(text: str, folder: Path) -> Config:
    path = folder / "written.yaml"
    path.write_text(text)
    return load_config(path, {"AMPLITUDE_API_KEY": "k"}, examine=mapping_mistakes)


def test_what_is_written_is_a_valid_configuration_on_the_safe_side(
    found: Survey, settings: Settings, tmp_path: Path
) -> None:
    written = loaded(configuration(found, settings, Choices()), tmp_path)
    assert not written.unset
    made = written.settings
    assert made.source.start_at == found.now.replace(minute=0) - timedelta(hours=48)
    assert (made.state.create, made.mapping.unknown_types, made.mapping.unknown_fields) == (
        "never",
        "hold",
        "drop",
    )
    assert made.mapping.privacy.drop == ("pii",)
    assert made.source.integrations == ("*",)
    mapping = load_mapping(made)
    assert mapping.plan(OPEN).withheld is None
    assert {mapping.plan(name).withheld for name in (SEND, CUSTOM, "users.messages.email.Click")} == {
        "not_selected"
    }


def test_event_types_stand_one_by_one_with_their_volume(found: Survey, settings: Settings) -> None:
    lines = configuration(found, settings, Choices()).splitlines()
    (opens,) = [line for line in lines if OPEN in line and "where" not in line]
    (sends,) = [line for line in lines if SEND in line]
    assert opens.lstrip().startswith(f"- {OPEN}")
    assert sends.lstrip().startswith(f"# - {SEND}")
    assert "a day" in sends
    assert "a month" in sends


def test_taking_a_mark_away_chooses_a_type(found: Survey, settings: Settings, tmp_path: Path) -> None:
    text = configuration(found, settings, Choices()).replace(f"# - {SEND}", f"- {SEND}")
    assert load_mapping(loaded(text, tmp_path).settings).plan(SEND).withheld is None


def test_machine_opens_and_suspected_bots_are_left_out(
    found: Survey, settings: Settings, tmp_path: Path
) -> None:
    choose = loaded(configuration(found, settings, Choices()), tmp_path).settings.mapping.choose
    assert [each.where for each in choose.exclude] == [
        {"machine_open": (True,)},
        {"is_suspected_bot_click": (True,)},
    ]


def test_the_first_run_is_bounded_above_what_is_expected(
    found: Survey, settings: Settings, tmp_path: Path
) -> None:
    text = configuration(found, settings, Choices())
    bound = loaded(text, tmp_path).settings.budget.first_run_events
    assert bound is not None
    assert 1000 < bound < 5000
    (said,) = [line for line in text.splitlines() if line.startswith("  # about ")]
    assert 900 <= int(said.split()[2].replace(",", "")) <= 1100


def test_nothing_is_sent_where_there_is_no_outcome_to_choose(
    settings: Settings, clock: ManualClock, write_file: WriteFile, tmp_path: Path
) -> None:
    write_file(SEND, "2026-10-03-01")
    text = configuration(survey(settings, clock, days=2), settings, Choices())
    mapping = load_mapping(loaded(text, tmp_path).settings)
    assert mapping.plan(SEND).withheld == "not_selected"


def test_a_type_that_nobody_knows_is_told_as_that(
    settings: Settings, clock: ManualClock, write_file: WriteFile, source: Path, tmp_path: Path
) -> None:
    path = write_file(OPEN, "2026-10-03-01")
    folder = path.parents[3]
    folder.rename(folder.with_name(f"event_type={NEW}"))
    text = configuration(survey(settings, clock, days=2), settings, Choices())
    assert f"# - {NEW}" in text
    assert "Not known to this release" in text
    assert loaded(text, tmp_path)


@pytest.mark.parametrize("name", ["yes", "2026-10-01", "a: b", "x # y", "ü", "{a}"])
def test_names_that_yaml_would_read_as_something_else_are_quoted(
    found: Survey, settings: Settings, tmp_path: Path, name: str
) -> None:
    amplitude = settings.amplitude.model_copy(update={"project": name})
    named = settings.model_copy(update={"amplitude": amplitude})
    text = configuration(found, named, Choices())
    assert loaded(text, tmp_path).settings.amplitude.project == name


def test_a_source_in_s3_has_its_state_beside_it(found: Survey, settings: Settings) -> None:
    written = yaml.safe_load(configuration(found, s3(settings, "s3://acme/currents"), Choices()))
    assert written["state"]["uri"] == "s3://acme/braze-etl/default/ledger"
    assert written["quarantine"]["uri"] == "s3://acme/braze-etl/default/quarantine"
    assert written["source"]["endpoint_url"] == "http://s3.test"


def test_a_named_state_takes_the_quarantine_with_it(found: Survey, settings: Settings) -> None:
    choices = Choices(state="s3://state/acme/ledger")
    written = yaml.safe_load(configuration(found, s3(settings, "s3://acme"), choices))
    assert written["state"]["uri"] == "s3://state/acme/ledger"
    assert written["quarantine"]["uri"] == "s3://state/acme/quarantine"


def test_no_ledger_is_put_among_the_files_of_a_whole_bucket(found: Survey, settings: Settings) -> None:
    with pytest.raises(UsageError) as caught:
        configuration(found, s3(settings, "s3://acme"), Choices())
    assert "--state" in caught.value.remedy


def s3(settings: Settings, uri: str) -> Settings:
    source = settings.source.model_copy(update={"uri": uri, "endpoint_url": "http://s3.test"})
    return settings.model_copy(update={"source": source})
