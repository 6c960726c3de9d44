from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from braze_etl.clock import ManualClock
from braze_etl.config.loading import Config
from braze_etl.engine import inspection
from braze_etl.flows.currents_to_amplitude.plan import Plan, make_plan
from braze_etl.flows.currents_to_amplitude.settings import Settings, load_config
from braze_etl.flows.currents_to_amplitude.source import Scope
from braze_etl.model import FileRef, FileSettlement, FileState, OpenPositions, Reason, Tally
from braze_etl.state.ledger import Backlog, RunRecord
from braze_etl.state.opening import open_ledger
from fixtures.generate import sample_record, write_avro

PURCHASE, ORPHAN = "users.behaviors.Purchase", "users.UserOrphan"
NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)
CLOCK = ManualClock(NOON)

Export: TypeAlias = Callable[..., Path]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config[Settings]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "export").mkdir()
    return load_config({"source": {"uri": "export"}, "amplitude": {"region": "US"}})


@pytest.fixture
def export(tmp_path: Path) -> Export:
    def write(event_type: str, users: list[str | None], hour: int = 5) -> Path:
        part = f"dataexport.prod-01.S3.integration.ab/event_type={event_type}/date=2026-10-01-{hour:02}"
        folder = tmp_path / "export" / part / "version=12/us-01"
        folder.mkdir(parents=True, exist_ok=True)
        records = [sample_record(event_type, seed) for seed in range(len(users))]
        for record, user in zip(records, users, strict=True):
            record["external_user_id"] = user
        path = folder / f"dataexport.prod-01.S3.integration.ab+0+{len(list(folder.iterdir()))}.avro"
        write_avro(path, event_type, records)
        return path

    return write


def plan(
    config: Config[Settings], *, exact: bool, scope: Scope | None = None, workers: int | None = None
) -> dict[str, Any]:
    return make_plan(config, scope, exact=exact, clock=CLOCK, workers=workers).as_dict()


def test_an_estimate_reads_nothing_and_foresees_what_is_left_out_as_a_type(
    config: Config[Settings], export: Export, tmp_path: Path
) -> None:
    export(PURCHASE, ["somebody"] * 40).write_bytes(b"x" * (3000 + 350 * 40))
    export(ORPHAN, ["somebody"])
    made = plan(config, exact=False)
    assert made["estimated"] is True
    assert (made["files"], made["events"], made["to_send"], made["filtered"]) == (2, 41, 40, 1)
    assert made["by_event_type"][ORPHAN]["reasons"] == {"not_in_native": 1}
    assert (made["users"], made["users_error"]) == (None, None)
    assert (made["requests"], made["seconds"], made["seconds_at_limit"]) == (1, None, 0.0)
    assert not (tmp_path / "state").exists()


def test_an_exact_plan_counts_users_and_says_why_records_are_not_sent(
    config: Config[Settings], export: Export, tmp_path: Path
) -> None:
    export(PURCHASE, ["user-one", "user-two", "user-one", "[REDACTED]", "ab"])
    export(PURCHASE, ["user-two", "user-six"], hour=6)
    export(ORPHAN, ["user-one"])
    export(PURCHASE, ["user-one"], hour=7).write_bytes(b"no Avro")
    made = plan(config, exact=True)
    assert made["estimated"] is False
    assert (made["files"], made["events"], made["to_send"]) == (4, 9, 5)
    assert (made["filtered"], made["quarantined"]) == (1, 3)
    assert (made["users"], made["users_error"]) == (3, 0.0)
    line = made["by_event_type"][PURCHASE]
    assert (line["users"], line["to_send"], line["quarantined"]) == (3, 5, 3)
    assert line["reasons"] == {"redacted_identity": 1, "invalid_user_id": 1, "unreadable_file": 1}
    assert (made["oldest_hour"], made["newest_hour"]) == ("2026-10-01T05:00:00Z", "2026-10-01T07:00:00Z")
    assert not (tmp_path / "state").exists()


def test_an_exact_plan_names_ids_with_more_events_a_day_than_the_configured_bound(
    config: Config[Settings], export: Export
) -> None:
    export(PURCHASE, ["user-one"] * 3 + ["user-two"], hour=5)
    export(PURCHASE, ["user-two"] * 2 + ["[REDACTED]"] * 3, hour=6)
    assert "busy_ids" not in plan(config, exact=True)
    identity = {"identity": {"flag_above": 2}}
    flagging = load_config({**config.settings.model_dump(exclude_unset=True), "mapping": identity})
    assert "busy_ids" not in plan(flagging, exact=False)
    (day,) = plan(flagging, exact=True)["busy_ids"]["days"]
    assert day["day"] == "2026-10-01"
    assert day["ids"] == [{"id": "user-one", "events": 3}, {"id": "user-two", "events": 3}]


def test_an_exact_plan_needs_no_key(export: Export, config: Config[Settings]) -> None:
    export(PURCHASE, ["user-one"])
    amplitude = {"region": "US", "api_key": "${NO_SUCH_KEY_IN_THE_ENVIRONMENT}"}
    keyless = load_config({"source": {"uri": "export"}, "amplitude": amplitude})
    assert plan(keyless, exact=True) == plan(config, exact=True)


@pytest.mark.parametrize("files", [1, 2, 7])
def test_an_exact_plan_is_the_same_however_the_files_are_cut_into_tasks(
    config: Config[Settings], export: Export, monkeypatch: pytest.MonkeyPatch, files: int
) -> None:
    for hour in range(5, 12):
        export(PURCHASE, [f"user-{hour}", "user-one", "user-one", "[REDACTED]", "ab"], hour=hour)
        export(ORPHAN, ["user-one"], hour=hour)
    export(PURCHASE, ["user-one"], hour=7).write_bytes(b"no Avro")
    identity = {"identity": {"flag_above": 3}}
    flagging = load_config({**config.settings.model_dump(exclude_unset=True), "mapping": identity})
    whole = plan(flagging, exact=True)
    assert (whole["files"], whole["events"]) == (15, 43)
    monkeypatch.setattr(inspection, "MAX_FILES", files)
    assert plan(flagging, exact=True, workers=1) == whole
    assert plan(flagging, exact=True, workers=3) == whole


def test_a_range_is_planned_as_a_backfill_would_take_it(config: Config[Settings], export: Export) -> None:
    for hour in (5, 6, 7):
        export(PURCHASE, ["somebody"], hour=hour)
    scope = Scope(NOON.replace(hour=6), NOON.replace(hour=7))
    assert plan(config, exact=False, scope=scope)["files"] == 1


def test_times_and_events_are_those_that_runs_have_measured(
    config: Config[Settings], export: Export, tmp_path: Path
) -> None:
    size = export(PURCHASE, ["somebody"] * 40).stat().st_size
    (tmp_path / "state").mkdir()
    ledger = open_ledger(config.settings.state.uri, config.settings.identity, clock=CLOCK)
    report = {
        "command": "run",
        "started_at": "2026-10-01T11:00:00Z",
        "exit_code": 0,
        "seconds": 10.0,
        "bytes_read": {PURCHASE: 10 * size},
        "by_event_type": {PURCHASE: {"read": 400}},
    }
    ledger.finish_run(RunRecord("r1", "run", NOON, NOON, 0, report))
    ledger.close()
    made = plan(config, exact=False)
    assert (made["events"], made["seconds"]) == (40, 1.0)


def test_of_an_open_file_only_what_is_open_is_planned(config: Config[Settings]) -> None:
    ref = FileRef("some.avro", "e", 40_000, NOON, PURCHASE, NOON.replace(hour=5))
    ledger = open_ledger(config.settings.state.uri, config.settings.identity, clock=CLOCK)
    wait = OpenPositions(Reason.THROTTLED, NOON - timedelta(hours=1), {100: (1, 2, 3)})
    open_file = FileSettlement(ref, FileState.OPEN, Tally(accepted=37, deferred=3), (wait,))
    ledger.settle("r1", [open_file], Backlog())
    ledger.close()
    made = plan(config, exact=False)
    assert (made["files"], made["events"]) == (1, 3)


def test_a_slow_rate_of_our_own_is_the_limit() -> None:
    made = Plan(max_events=100, exact=False, limit=50.0)
    made.send(PURCHASE, 1000)
    assert (made.requests, made.seconds_at_limit) == (10, 20.0)
