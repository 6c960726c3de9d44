"""Log lines on stderr: text for people, one JSON object a line for machines; never a payload.

The package tells what happened through `logging`, with facts as keywords, and configures nothing: who uses it
as a library gets its records as those of any other. The command line has structlog write them.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TextIO

from braze_etl.clock import iso
from braze_etl.quoting import json_text, masked, visible

if TYPE_CHECKING:
    from structlog.typing import EventDict

_ROOT = "braze_etl"
logging.getLogger(_ROOT).addHandler(logging.NullHandler())  # what nobody listens to is not printed either

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

_bound: ContextVar[Mapping[str, Any] | None] = ContextVar("bound", default=None)


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
        self._logger.debug(message, extra=_extra(facts))

    def info(self, message: str, **facts: Any) -> None:
        """Something that matters to whoever follows the run."""
        self._logger.info(message, extra=_extra(facts))

    def warning(self, message: str, **facts: Any) -> None:
        """Something that somebody should look at, though the run goes on."""
        self._logger.warning(message, extra=_extra(facts))

    def error(self, message: str, *, exc_info: BaseException | None = None, **facts: Any) -> None:
        """Something that ends the run, or keeps data back; *exc_info* is told with its traceback."""
        self._logger.error(message, extra=_extra(facts), exc_info=exc_info)


def _extra(facts: dict[str, Any]) -> dict[str, Any]:
    return {"facts": facts, "bound": _bound.get() or {}}


def bind_facts(**facts: Any) -> None:
    """Put *facts* on every JSON line from now on, in this context; text for people leaves them out."""
    _bound.set({**(_bound.get() or {}), **facts})


@contextmanager
def common_facts(**facts: Any) -> Iterator[None]:
    """Put *facts* on every JSON line inside of the block."""
    token = _bound.set({**(_bound.get() or {}), **facts})
    try:
        yield
    finally:
        _bound.reset(token)


def configure_logging(form: LogFormat, stream: TextIO | None = None, level: LogLevel = "info") -> None:
    """Send this package's lines from *level* on, and other libraries' warnings, to *stream*.

    None: to what `sys.stderr` is at the moment of each line, so that a progress bar can make way for it.
    """
    lines = _Lines(form, stream)
    ours, others = logging.getLogger(_ROOT), logging.getLogger()
    ours.handlers = [lines]
    ours.propagate = False
    others.handlers = [each for each in others.handlers if not isinstance(each, _Lines)] + [lines]
    set_level(level)


def set_level(level: LogLevel) -> None:
    """Leave out what is below *level*."""
    logging.getLogger(_ROOT).setLevel(level.upper())


def speaks_json() -> bool:
    """Whether the lines of this process are JSON."""
    return any(isinstance(each, _Lines) and each.form == "json" for each in logging.getLogger(_ROOT).handlers)


def catch_strays() -> None:
    """Have warnings of Python, and what ends a thread, told as lines like all else."""
    logging.captureWarnings(True)
    threading.excepthook = _tell_of_thread


def _tell_of_thread(ended: threading.ExceptHookArgs) -> None:
    name = ended.thread.name if ended.thread else "unknown"
    get_logger(__name__).error("a thread failed", thread=name, exc_info=ended.exc_value)


class _Lines(logging.Handler):
    def __init__(self, form: LogFormat, stream: TextIO | None) -> None:
        super().__init__()
        self.form = form
        self._stream = stream

    @cached_property
    def _lines(self) -> logging.Formatter:
        # Here, for it brings much along, and nothing of it is needed before the first line.
        from structlog.processors import JSONRenderer, format_exc_info
        from structlog.stdlib import ProcessorFormatter

        as_json = (_flat, JSONRenderer(lambda event, **_: json_text(event)))
        written = (_as_text,) if self.form == "text" else as_json
        return ProcessorFormatter(processors=[format_exc_info, _described, *written])

    def format(self, record: logging.LogRecord) -> str:
        return self._lines.format(record)

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.split(".")[0] != _ROOT and record.levelno < logging.WARNING:
            return
        try:
            stream = self._stream or sys.stderr
            stream.write(self.format(record) + "\n")
            stream.flush()
        except Exception:  # noqa: BLE001 - as every handler: a line that can't be written ends no run
            self.handleError(record)


def _described(_logger: Any, level: str, event: EventDict) -> EventDict:
    """What a line tells, without a password in any text of it."""
    record: logging.LogRecord = event["_record"]
    others = {"logger": record.name}
    facts = getattr(record, "facts", others)
    if "exception" in event:
        facts = {**facts, "exception": event["exception"]}
    return {
        "time": datetime.fromtimestamp(record.created, UTC),
        "level": level,
        "message": masked(event["event"]),
        "bound": getattr(record, "bound", {}),
        "facts": {name: masked(value) if isinstance(value, str) else value for name, value in facts.items()},
    }


def _flat(_logger: Any, _level: str, event: EventDict) -> EventDict:
    bound, facts = event.pop("bound"), event.pop("facts")
    return {**event, "time": iso(event["time"]), **bound, **facts}


def _as_text(_logger: Any, _level: str, event: EventDict) -> str:
    level = "" if event["level"] == "info" else f"{event['level']}: "
    facts = "".join(f"  {name}={_word(value)}" for name, value in event["facts"].items())
    return f"{event['time']:%Y-%m-%d %H:%M:%S} {level}{visible(event['message'])}{facts}"


def _word(value: Any) -> str:
    """A value that can't be taken for a line, or a fact, of its own."""
    text = str(value) if isinstance(value, str | int | float) else json_text(value)
    return text if text.isprintable() else json_text(text)
