from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from braze_etl.flows.currents_to_amplitude.settings import Settings


def settings(state: dict[str, Any] | None = None, **quarantine: Any) -> Settings:
    plain = {"source": {"uri": "export"}, "amplitude": {"region": "US"}, "quarantine": quarantine}
    return Settings.model_validate(plain | {"state": state or {}})


def test_rows_of_files_are_kept_for_a_month_at_least() -> None:
    assert settings().state.keep == timedelta(days=400)
    assert settings({"keep": "30d"}).state.keep == timedelta(days=30)
    with pytest.raises(ValidationError, match="30d or longer"):
        settings({"keep": "29d"})


def test_whether_payloads_are_kept_depends_on_the_source_and_they_are_for_thirty_days() -> None:
    assert settings().quarantine.payload == "auto"
    assert settings().quarantine.payload_ttl == timedelta(days=30)
    assert settings(payload=True, payload_ttl="12h").quarantine.payload_ttl == timedelta(hours=12)


def test_a_payload_that_lives_for_no_time_is_refused_with_the_way_to_keep_none() -> None:
    with pytest.raises(ValidationError, match="set payload to false"):
        settings(payload_ttl="0s")


MACHINES = "dask://scheduler:8786"
SHARED = {"source": {"uri": "s3://acme/currents"}, "quarantine": {"uri": "file:///mnt/quarantine"}}


def of_machines(**sections: Any) -> Settings:
    return Settings.model_validate({**SHARED, "amplitude": {"region": "US"}, **sections})


def test_what_other_machines_read_and_write_must_lie_where_they_reach_it() -> None:
    assert [*of_machines(workers=MACHINES).beyond_reach()] == []
    alone = of_machines(
        source={"uri": "./export"},
        quarantine={},
        mapping={"privacy": {"suppress": "/etc/ids.txt"}, "identity": {"lookup": {"uri": "ids.csv"}}},
    )
    assert [*alone.beyond_reach()] == []
    assert [*alone.beyond_reach(4)] == []
    found = [*alone.beyond_reach(MACHINES)]
    assert [".".join(map(str, path)) for path, _ in found] == [
        "source.uri",
        "quarantine.uri",
        "mapping.privacy.suppress",
        "mapping.identity.lookup.uri",
    ]
    assert all("a place of this machine alone" in words and "s3://" in words for _, words in found)


def test_a_place_that_waits_for_the_environment_is_not_judged_before_it_is_known() -> None:
    assert [*of_machines(workers=MACHINES, source={"uri": "${SOURCE}"}).beyond_reach()] == []


def test_the_command_line_goes_before_the_configuration_in_both_directions() -> None:
    amplitude = {"region": "US", "concurrency": 24}
    assert of_machines(workers=MACHINES, amplitude=amplitude).processes(3) == 3
    assert of_machines(workers=3, amplitude=amplitude).processes(MACHINES) == 24
