from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from braze_etl.clock import ManualClock
from braze_etl.flows.currents_to_amplitude.settings import Settings
from fixtures.generate import sample_record, write_avro

NOW = datetime(2026, 10, 3, 12, 30, tzinfo=UTC)
CONNECTOR = "dataexport.prod-01.S3.integration.0123456789abcdef01234567"
OTHER = "dataexport.prod-01.S3.integration.ffffffffffffffffffffffff"
WriteFile: TypeAlias = Callable[..., Path]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "export"


@pytest.fixture
def settings(source: Path) -> Settings:
    return Settings.model_validate({"source": {"uri": str(source)}, "amplitude": {"region": "US"}})


@pytest.fixture
def write_file(source: Path) -> WriteFile:
    def write(
        event_type: str,
        hour: str,
        records: int = 10,
        *,
        connector: str = CONNECTOR,
        offset: int = 0,
        codec: str = "null",
        **fields: Any,
    ) -> Path:
        """Write a file of so many records; *fields* are laid over each of them."""
        folder = source / connector / f"event_type={event_type}" / f"date={hour}" / "version=12/us-01"
        path = folder / f"{connector}+0+{offset}.avro"
        made = [sample_record(event_type, number) for number in range(records)]
        for number, record in enumerate(made):
            record |= {"id": f"{hour}-{offset}-{number}", "external_user_id": f"user-{number:04}", **fields}
        write_avro(path, event_type, made, codec=codec)
        return path

    return write
