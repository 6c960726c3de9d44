"""Logs, metrics and calls to the services that watch: for people and machines; knows nothing of the job."""

from braze_etl.telemetry.calls import CallError, ping, post_json, push, reach
from braze_etl.telemetry.logs import (
    LogFormat,
    Logger,
    LogLevel,
    common_facts,
    configure_logging,
    get_logger,
)
from braze_etl.telemetry.metrics import Exposed, Histogram, Metric, Samples, exposition, write_textfile

__all__ = [
    "CallError",
    "Exposed",
    "Histogram",
    "LogFormat",
    "LogLevel",
    "Logger",
    "Metric",
    "Samples",
    "common_facts",
    "configure_logging",
    "exposition",
    "get_logger",
    "ping",
    "post_json",
    "push",
    "reach",
    "write_textfile",
]
