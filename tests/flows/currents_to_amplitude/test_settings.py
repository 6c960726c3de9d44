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
