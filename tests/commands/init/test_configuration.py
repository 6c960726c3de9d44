from __future__ import annotations

import dataclasses
import re
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from braze_etl.clock import ManualClock
from braze_etl.commands.init.configuration import configuration
from braze_etl.commands.init.survey import Survey, survey
from braze_etl.config.loading import Config
from braze_etl.errors import ConfigError, UsageError
from braze_etl.flows.currents_to_amplitude.mapping import load_mapping, mapping_mistakes
from braze_etl.flows.currents_to_amplitude.settings import Settings, load_config
from tests.commands.init.conftest import OTHER, WriteFile

OPEN, CLICK, SEND = (f"users.messages.email.{name}" for name in ("Open", "Click", "Send"))
CUSTOM, NEW = "users.behaviors.CustomEvent", "users.messages.pigeon.Coo"


@pytest.fixture
def found(settings: Settings, clock: ManualClock, write_file: WriteFile) -> Survey:
    for event_type in (OPEN, SEND, CUSTOM):
        for number in range(10):
            write_file(event_type, f"2026-10-03-0{number}", 100)
    return survey(settings, clock, days=2)


def loaded(text: str, folder: Path) -> Config[Settings]:
    path = folder / "written.yaml"
    path.write_text(text)
    return load_config(path, {"AMPLITUDE_API_KEY": "k"}, examine=mapping_mistakes)


def test_what_is_written_is_a_valid_configuration_on_the_safe_side(
    found: Survey, settings: Settings, tmp_path: Path
) -> None:
    written = loaded(configuration(found, settings), tmp_path)
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
    lines = configuration(found, settings).splitlines()
    (opens,) = [line for line in lines if OPEN in line and "where" not in line]
    (sends,) = [line for line in lines if SEND in line]
    assert opens.lstrip().startswith(f"- {OPEN}")
    assert sends.lstrip().startswith(f"# - {SEND}")
    assert "a day" in sends
    assert "a month" in sends


def test_taking_a_mark_away_chooses_a_type(found: Survey, settings: Settings, tmp_path: Path) -> None:
    text = configuration(found, settings).replace(f"# - {SEND}", f"- {SEND}")
    assert load_mapping(loaded(text, tmp_path).settings).plan(SEND).withheld is None


def test_machine_opens_and_suspected_bots_are_left_out(
    found: Survey, settings: Settings, tmp_path: Path
) -> None:
    choose = loaded(configuration(found, settings), tmp_path).settings.mapping.choose
    assert [each.where for each in choose.exclude] == [
        {"machine_open": (True,)},
        {"is_suspected_bot_click": (True,)},
    ]


def test_the_first_run_is_bounded_above_what_is_expected(
    found: Survey, settings: Settings, tmp_path: Path
) -> None:
    text = configuration(found, settings)
    bound = loaded(text, tmp_path).settings.budget.first_run_events
    assert bound is not None
    assert 1000 < bound < 5000
    (said,) = [line for line in text.splitlines() if line.startswith("  # about ")]
    assert 900 <= int(said.split()[2].replace(",", "")) <= 1100


def test_remains_of_years_ago_do_not_thin_out_what_comes_now(
    settings: Settings, clock: ManualClock, write_file: WriteFile, tmp_path: Path
) -> None:
    write_file(CLICK, "2023-05-01-00")
    for number in range(24):
        write_file(OPEN, f"2026-10-02-{number:02}", 100)
        write_file(CLICK, f"2026-10-02-{number:02}", 100)
    text = configuration(survey(settings, clock, days=14), settings)
    bound = loaded(text, tmp_path).settings.budget.first_run_events
    assert bound is not None
    assert 4800 < bound < 20_000
    (clicks,) = [line for line in text.splitlines() if CLICK in line and "where" not in line]
    assert int(clicks.split("# ")[1].split()[0].replace(",", "")) == pytest.approx(1600, rel=0.05)


def test_the_first_run_is_what_lies_after_its_beginning(
    settings: Settings, clock: ManualClock, write_file: WriteFile
) -> None:
    for number in range(10):
        write_file(OPEN, f"2026-09-25-0{number}", 500)
    write_file(OPEN, "2026-10-03-01", 20)
    text = configuration(survey(settings, clock, days=14), settings)
    (said,) = [line for line in text.splitlines() if line.startswith("  # about ")]
    assert int(said.split()[2]) == pytest.approx(20, rel=0.2)


def test_two_connectors_of_the_same_types_are_not_both_chosen(
    settings: Settings, clock: ManualClock, write_file: WriteFile, tmp_path: Path
) -> None:
    for number in range(10):
        write_file(OPEN, f"2026-10-03-0{number}", 100)
        write_file(OPEN, f"2026-10-03-0{number}", 90, connector=OTHER)
    write_file(SEND, "2026-10-03-01", connector=OTHER)
    text = configuration(survey(settings, clock, days=2), settings)
    assert loaded(text, tmp_path).settings.source.integrations == ("0123456789abcdef01234567",)
    assert f"# - {'f' * 24}" in text
    assert "would be sent twice" in text
    (sends,) = [line for line in text.splitlines() if SEND in line]
    assert "not chosen" in sends
    (said,) = [line for line in text.splitlines() if line.startswith("  # about ")]
    assert int(said.split()[2].replace(",", "")) == pytest.approx(1000, rel=0.1)


def test_a_connector_that_was_made_anew_is_found_by_the_star(
    settings: Settings, clock: ManualClock, write_file: WriteFile, tmp_path: Path
) -> None:
    for number in range(6):
        write_file(OPEN, f"2026-10-03-0{number}", 100)
    for number in (4, 5):
        write_file(OPEN, f"2026-10-03-0{number}", connector=OTHER, offset=1)
    text = configuration(survey(settings, clock, days=2), settings)
    assert loaded(text, tmp_path).settings.source.integrations == ("*",)


def test_a_source_that_ended_before_the_first_hour_comes_with_the_way_to_send_it(
    settings: Settings, clock: ManualClock, write_file: WriteFile, tmp_path: Path
) -> None:
    write_file(OPEN, "2026-03-01-05")
    text = configuration(survey(settings, clock, days=14), settings)
    assert "`braze-etl backfill --from 2026-03-01T05 --to 2026-03-01T05`" in text
    assert loaded(text, tmp_path)


def test_where_nothing_could_be_sampled_nothing_is_said_of_ids(
    settings: Settings, clock: ManualClock, write_file: WriteFile
) -> None:
    write_file(OPEN, "2026-10-03-01").write_bytes(b"no Avro")
    text = configuration(survey(settings, clock, days=2), settings)
    assert "shorter ids. No record could be sampled." in text
    assert "None in the sample" not in text


def test_nothing_is_sent_where_there_is_no_outcome_to_choose(
    settings: Settings, clock: ManualClock, write_file: WriteFile, tmp_path: Path
) -> None:
    write_file(SEND, "2026-10-03-01")
    text = configuration(survey(settings, clock, days=2), settings)
    mapping = load_mapping(loaded(text, tmp_path).settings)
    assert mapping.plan(SEND).withheld == "not_selected"


def test_a_type_that_nobody_knows_is_told_as_that(
    settings: Settings, clock: ManualClock, write_file: WriteFile, source: Path, tmp_path: Path
) -> None:
    path = write_file(OPEN, "2026-10-03-01")
    folder = path.parents[3]
    folder.rename(folder.with_name(f"event_type={NEW}"))
    text = configuration(survey(settings, clock, days=2), settings)
    assert f"# - {NEW}" in text
    assert "not known to this release" in text
    assert loaded(text, tmp_path)


def test_every_line_that_is_commented_out_can_be_taken_along(
    settings: Settings, clock: ManualClock, write_file: WriteFile, tmp_path: Path
) -> None:
    for event_type in (OPEN, SEND, CUSTOM, "agentconsole.AgentExecuted"):
        write_file(event_type, "2026-10-03-01")
    folder = write_file("users.messages.sms.Send", "2026-10-03-01").parents[3]
    folder.rename(folder.with_name(f"event_type={NEW}"))
    text = configuration(survey(settings, clock, days=2), settings)
    followed = re.sub(r"(?m)^( *)# ( *(?:- \S+|[a-z_]+:)(?: +(?:#.*|\S+ +#.*))?)$", r"\1\2", text)
    assert followed.count("# - ") == 0
    made = loaded(followed, tmp_path).settings
    mapping = load_mapping(made)
    for name in (OPEN, SEND, CUSTOM, "agentconsole.AgentExecuted", NEW):
        assert mapping.plan(name).withheld is None, name
    assert made.budget.per_month == 10_000_000


def test_each_line_alone_keeps_the_configuration_valid_but_one_that_says_so(
    settings: Settings, clock: ManualClock, write_file: WriteFile, tmp_path: Path
) -> None:
    folder = write_file(OPEN, "2026-10-03-01").parents[3]
    folder.rename(folder.with_name(f"event_type={NEW}"))
    text = configuration(survey(settings, clock, days=2), settings)
    with pytest.raises(ConfigError, match=f"no event type {NEW}"):
        loaded(text.replace(f"      # - {NEW}", f"      - {NEW}"), tmp_path)
    assert "without that,\n      # its name is a mistake here" in text


@pytest.mark.parametrize("name", ["yes", "2026-10-01", "a: b", "x # y", "ü", "{a}"])
def test_names_that_yaml_would_read_as_something_else_are_quoted(
    found: Survey, settings: Settings, tmp_path: Path, name: str
) -> None:
    amplitude = settings.amplitude.model_copy(update={"project": name})
    named = settings.model_copy(update={"amplitude": amplitude})
    text = configuration(found, named)
    assert loaded(text, tmp_path).settings.amplitude.project == name


def test_a_source_in_s3_has_its_state_beside_it(found: Survey, settings: Settings) -> None:
    written = yaml.safe_load(configuration(*in_s3(found, settings, "s3://acme/currents")))
    assert written["state"]["uri"] == "s3://acme/braze-etl/default/ledger"
    assert written["quarantine"]["uri"] == "s3://acme/braze-etl/default/quarantine"
    assert written["source"]["endpoint_url"] == "http://s3.test"
    assert written["source"]["external_id"] == "e-1"


def test_a_named_state_takes_the_quarantine_with_it(found: Survey, settings: Settings) -> None:
    asked = in_s3(found, settings, "s3://acme")
    written = yaml.safe_load(configuration(*asked, state="s3://state/acme/ledger"))
    assert written["state"]["uri"] == "s3://state/acme/ledger"
    assert written["quarantine"]["uri"] == "s3://state/acme/quarantine"


def test_no_ledger_is_put_among_the_files_of_a_whole_bucket(found: Survey, settings: Settings) -> None:
    with pytest.raises(UsageError) as caught:
        configuration(*in_s3(found, settings, "s3://acme"))
    assert "--state" in caught.value.remedy


def in_s3(found: Survey, settings: Settings, uri: str) -> tuple[Survey, Settings]:
    """The same survey, of a source in S3."""
    reach = {"uri": uri, "endpoint_url": "http://s3.test", "external_id": "e-1"}
    source = settings.source.model_copy(update=reach)
    return dataclasses.replace(found, source=uri), settings.model_copy(update={"source": source})
