"""The `source` section: where the Currents files are, and which of them are due."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from braze_etl.config.values import Duration, StoreUri
from braze_etl.storage.settings import SourceSection

_PATTERNS = Field(default=("*",), description="Globs; `!glob` excludes, and excludes win.")


class Source(SourceSection):
    """Where the Currents files are, and which of them are due."""

    uri: StoreUri = Field(
        description="s3://bucket/prefix (or s3:// and the ARN of an access point), a folder, or file:///folder."
    )
    lookback: Duration = Field(default=timedelta(days=7), description="Listed on every run.")
    settle: Duration = Field(default=timedelta(0), description="Younger objects wait for the next run.")
    reconcile_every: Duration = Field(
        default=timedelta(hours=24), description="Sweep the hours before the look-back for what came late."
    )
    reconcile_for: Duration = Field(
        default=timedelta(minutes=1), description="Most of one run that a sweep may take; the next goes on."
    )
    integrations: tuple[str, ...] = _PATTERNS
    event_types: tuple[str, ...] = _PATTERNS
