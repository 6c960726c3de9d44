"""Logs for people and machines."""

from braze_etl.telemetry.logs import LogFormat, Logger, configure_logging, get_logger

__all__ = ["LogFormat", "Logger", "configure_logging", "get_logger"]
