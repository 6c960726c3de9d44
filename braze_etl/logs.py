"""Log lines on stderr: text for people, one JSON object a line for machines; never a payload."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from braze_etl.clock import iso
from braze_etl.quoting import json_text, masked, visible

_ROOT = "braze_etl"

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

_common: ContextVar[Mapping[str, Any] | None] = ContextVar("common", default=None)


def get_logger(name: str) -> Logger:
    """Return the logger of a module; *name* is its `__name__`."""
    return Logger(logging.getLogger(name))


class Logger:
    """Says what happened, with facts as keywords: `log.info("task settled", files=3)`.

    A fact is a count, a name, a file's key, an event type; never a record, the id of a person, or a secret.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    @property
    def tells_details(self) -> bool:
        """Whether anybody reads what `debug` says: a line for each file is not even made otherwise."""
        return self._logger.isEnabledFor(logging.DEBUG)

    def debug(self, message: str, **facts: Any) -> None:
        """A detail, such as one file of many."""
        self._logger.debug(message, extra={"facts": facts})

    def info(self, message: str, **facts: Any) -> None:
        """Something that matters to whoever follows the run."""
        self._logger.info(message, extra={"facts": facts})

    def warning(self, message: str, **facts: Any) -> None:
        """Something that somebody should look at, though the run goes on."""
        self._logger.warning(message, extra={"facts": facts})

    def error(self, message: str, **facts: Any) -> None:
        """Something that ends the run, or keeps data back."""
        self._logger.error(message, extra={"facts": facts})


@contextmanager
def common_facts(**facts: Any) -> Iterator[None]:
    """Put *facts* on every JSON line inside of the block; text for people leaves them out."""
    token = _common.set({**(_common.get() or {}), **facts})
    try:
        yield
    finally:
        _common.reset(token)


def configure_logging(form: LogFormat, stream: TextIO | None = None, level: LogLevel = "info") -> None:
    """Send this package's lines from *level* on, and other libraries' warnings, to *stream*.

    None: to what `sys.stderr` is at the moment of each line, so that a progress bar can make way for it.
    """
    lines = _Lines(stream)
    lines.setFormatter(_JsonLines() if form == "json" else _TextLines())
    ours, others = logging.getLogger(_ROOT), logging.getLogger()
    ours.handlers = [lines]
    ours.setLevel(level.upper())
    ours.propagate = False
    others.handlers = [each for each in others.handlers if not isinstance(each, _Lines)] + [lines]


class _Lines(logging.Handler):
    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.split(".")[0] != _ROOT and record.levelno < logging.WARNING:
            return
        try:
            stream = self._stream or sys.stderr
            stream.write(self.format(record) + "\n")
            stream.flush()
        except Exception:  # noqa: BLE001 - as every handler: a line that can't be written ends no run
            self.handleError(record)


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    others: dict[str, Any] = {"logger": record.name}
    facts: dict[str, Any] = getattr(record, "facts", others)
    return {name: masked(value) if isinstance(value, str) else value for name, value in facts.items()}


def _message(record: logging.LogRecord) -> str:
    return masked(record.getMessage())


class _TextLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%d %H:%M:%S")
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        facts = "".join(f"  {name}={_word(value)}" for name, value in _facts(record).items())
        return f"{time} {level}{visible(_message(record))}{facts}"


def _word(value: Any) -> str:
    """A value that can't be taken for a line, or a fact, of its own."""
    text = str(value) if isinstance(value, str | int | float) else json_text(value)
    return text if text.isprintable() else json_text(text)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": iso(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "message": _message(record),
            **(_common.get() or {}),
            **_facts(record),
        }
        return json_text(line)
