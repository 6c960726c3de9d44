"""Log lines on stderr: text for people, one JSON object a line for machines; never a payload."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import orjson

from braze_etl.clock import iso

_ROOT = "braze_etl"

LogFormat = Literal["text", "json"]


def get_logger(name: str) -> Logger:
    """Return the logger of a module; *name* is its `__name__`."""
    return Logger(logging.getLogger(name))


class Logger:
    """Says what happened, with facts as keywords: `log.info("task settled", files=3)`."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def info(self, message: str, **facts: Any) -> None:
        """Something that matters to whoever follows the run."""
        self._logger.info(message, extra={"facts": facts})

    def warning(self, message: str, **facts: Any) -> None:
        """Something that somebody should look at, though the run goes on."""
        self._logger.warning(message, extra={"facts": facts})

    def error(self, message: str, **facts: Any) -> None:
        """Something that ends the run, or keeps data back."""
        self._logger.error(message, extra={"facts": facts})


def configure_logging(form: LogFormat, stream: TextIO = sys.stderr, level: int = logging.INFO) -> None:
    """Send this package's lines to *stream*; other libraries' stay silent below WARNING."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_JsonLines() if form == "json" else _TextLines())
    logger = logging.getLogger(_ROOT)
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    facts: dict[str, Any] = getattr(record, "facts", {})
    return facts


class _TextLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        facts = "".join(f"  {name}={value}" for name, value in _facts(record).items())
        return f"{time} {level}{record.getMessage()}{facts}"


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": iso(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **_facts(record),
        }
        return orjson.dumps(line, default=str).decode()
