"""Events that Amplitude holds, by hours of `server_upload_time`: its Export API, or its raw export at rest.

Both give gzip of JSON lines (amplitude-read.md, 2.3 and 3). An event is the object of its line as it is: at
least `$insert_id`, `event_type`, `library`, `user_id` and `server_upload_time` (2.4) are to be expected.
"""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from tempfile import TemporaryFile
from typing import Any, BinaryIO, Final, Protocol, TypeAlias, cast

import orjson
from isal import igzip, igzip_lib

from braze_etl.amplitude.rest import Patience, RestApi
from braze_etl.amplitude.settings import Amplitude
from braze_etl.clock import Clock, hour_of, iso
from braze_etl.delivery.http import Kind, NoReply, Reply
from braze_etl.errors import FileError, NotLoadedError, ReadError
from braze_etl.storage.opening import open_store
from braze_etl.storage.settings import StoreAccess
from braze_etl.storage.store import Store, StoredObject

Exported: TypeAlias = dict[str, Any]

AMPLITUDE: Final = "amplitude://export"
"""The Export API, where a URI may name a folder or a bucket with raw export files."""
DELAY: Final = timedelta(hours=2)
"""So long after its end Amplitude has loaded an hour (2.1)."""

_NO_ACCESS: Final = StoreAccess()
_HOUR: Final = timedelta(hours=1)


class ExportSource(Protocol):
    """Where exported events come from."""

    downloaded: int
    """Bytes that were taken from there so far, those of failed attempts among them."""

    def batches(self, since: datetime, until: datetime) -> Iterator[list[Exported]]:
        """Give the events of the hours from that of *since* to that of *until*, both included, in no order.

        Flat memory: some dozens of events a batch. Raises `NotLoadedError` where an hour is not there yet
        (what came before is complete and was given), `KeyRefusedError`, `ReadError` and `StoreError`.
        """
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


def open_export(
    uri: str,
    settings: Amplitude,
    clock: Clock,
    *,
    access: StoreAccess = _NO_ACCESS,
    max_download: int | None = None,
    delay: timedelta = DELAY,
) -> ExportSource:
    """Open the Export API (`AMPLITUDE`), or raw export files below a folder or `s3://bucket/prefix`.

    More than *max_download* bytes are `ReadError`. An hour without events is final when it ended *delay* ago.
    """
    if uri == AMPLITUDE:
        return ExportApi(RestApi(settings, clock), clock, max_download=max_download, delay=delay)
    store, prefix = open_store(uri, access=access, gives_way=True)
    return RawExport(store, prefix, uri, max_download=max_download)


class _Download:
    """What was taken from a source, within a bound."""

    def __init__(self, most: int | None) -> None:
        self.downloaded = 0
        self._most = most

    def count(self, size: int) -> None:
        self.downloaded += size
        if self._most is not None and self.downloaded > self._most:
            raise ReadError(
                f"more than {self._most:,} bytes of exported events would be read, and no more may be",
                remedy="Raise --max-download, take fewer hours, or read Amplitude's raw export in S3.",
            )


_PATH: Final = "/api/2/export"
_ZIP: Final = b"PK"
_LONGEST: Final = 24
_SMALL: Final = 64_000_000
"""Bytes of a download that was quick: the next one takes twice as many hours."""
_LARGE: Final = 4 * _SMALL
"""Of one that would be long to take again, and lie on the disk: the next one takes half of the hours."""
_NO_DATA: Final = 404
_TIMED_OUT: Final = 504
_TOO_MUCH: Final = (400, 413, _TIMED_OUT)
_SAYS_TOO_MUCH: Final = "Amplitude exports 4 GB at once"
_AT_REST: Final = (
    "Have Amplitude export raw events to S3 (its destination Amazon S3), and read them from there: "
    "--export s3://bucket/prefix."
)


class ExportApi(_Download):
    """The Export API (amplitude-read.md, 2): a zip of so many hours at a time, spooled to a nameless file.

    It begins with an hour, takes more while they are small, and fewer where they are not or are refused.
    """

    def __init__(
        self, api: RestApi, clock: Clock, *, max_download: int | None = None, delay: timedelta = DELAY
    ) -> None:
        super().__init__(max_download)
        self._api = api
        self._clock = clock
        self._delay = delay
        self._hours = 1
        self._answers_well = False
        self._foreign = ""

    def batches(self, since: datetime, until: datetime) -> Iterator[list[Exported]]:
        since, until = hour_of(since), hour_of(until)
        while since <= until:
            span = self._next_span(since, until)
            with TemporaryFile(prefix="braze-etl-export-") as spool:
                if not self._fetch(span, spool):
                    self._hours = span.hours // 2
                    continue
                size = spool.seek(0, io.SEEK_END)
                if size:
                    yield from _unzip(spool)
            if size < _SMALL:
                self._hours = min(2 * self._hours, _LONGEST)
            elif size > _LARGE:
                self._hours = max(1, self._hours // 2)
            since = span.last + _HOUR
        if self._foreign and not self._answers_well:
            raise ReadError(
                f"Amplitude's Export API was not found: {self._foreign}",
                remedy="Check `amplitude.read_endpoint`, and what stands between this machine and Amplitude.",
            )

    def close(self) -> None:
        self._api.close()

    def _next_span(self, since: datetime, until: datetime) -> _Span:
        """As many hours as are to be asked for at once; one that may not be loaded yet is asked for alone."""
        last = max(since, min(self._last_loaded(), since + (self._hours - 1) * _HOUR))
        return _Span(since, min(until, last))

    def _last_loaded(self) -> datetime:
        return hour_of(self._clock.now() - self._delay) - _HOUR

    def _fetch(self, span: _Span, spool: BinaryIO) -> bool:
        """Fill *spool* with the zip of *span*, or leave it empty; False where it has to be asked in parts."""
        patience = self._api.patience(_PATH)
        while True:
            spool.seek(0)
            spool.truncate()
            answer = self._api.download(_PATH, span.asked, spool, magic=_ZIP, count=self.count)
            if answer is None:
                self._answers_well = True
                fault = _fault(spool)
                if not fault:
                    return True
                patience.fail(f"the export of {span} came damaged ({fault})")
            elif isinstance(answer, Reply) and answer.status == _NO_DATA:
                self._check_empty(span, answer)
                return True
            elif _is_too_much(answer):
                if span.hours > 1:
                    return False
                self._bear_hour(span, answer, patience)
            else:
                patience.bear(answer)

    def _check_empty(self, span: _Span, answer: Reply) -> None:
        """Believe that there is nothing in *span*; `NotLoadedError` where that is not known yet."""
        if span.last > self._last_loaded():
            raise NotLoadedError(
                f"Amplitude has not loaded the events of {span} yet",
                remedy=f"Try again after {iso(span.last + _HOUR + self._delay)}.",
                since=span.first,
            )
        # Amplitude's own words for it are not known, but they are no page.
        self._answers_well |= not answer.text.startswith("<")
        self._foreign = answer.words

    def _bear_hour(self, span: _Span, answer: Reply | NoReply, patience: Patience) -> None:
        """Try an hour again that may come after all; a 504 once, for a gateway may have had a bad moment."""
        is_gateway = isinstance(answer, Reply) and answer.status == _TIMED_OUT
        if isinstance(answer, NoReply) or (is_gateway and not patience.was_tried):
            patience.bear(answer)
            return
        raise ReadError(
            f"Amplitude does not export the hour {span} ({answer.words}): {_SAYS_TOO_MUCH}", remedy=_AT_REST
        )


@dataclass(frozen=True, slots=True)
class _Span:
    """Hours from the *first* to the *last*, both included."""

    first: datetime
    last: datetime

    @property
    def hours(self) -> int:
        return (self.last - self.first) // _HOUR + 1

    @property
    def asked(self) -> dict[str, str]:
        return {"start": f"{self.first:%Y%m%dT%H}", "end": f"{self.last:%Y%m%dT%H}"}

    def __str__(self) -> str:
        first = f"{self.first:%Y-%m-%dT%H}"
        return first if self.hours == 1 else f"{first} to {self.last:%Y-%m-%dT%H}"


def _is_too_much(answer: Reply | NoReply) -> bool:
    if isinstance(answer, NoReply):
        return answer.kind is Kind.TIMEOUT
    return answer.status in _TOO_MUCH


_IsalError: type[Exception] = igzip_lib.error  # type: ignore[assignment]  # its stub declares an instance
_DAMAGED: Final = (
    *(EOFError, OSError, RuntimeError, ValueError, struct.error),
    *(zlib.error, _IsalError, zipfile.BadZipFile),
)
_CHUNK: Final = 1 << 16
_LONGEST_LINE: Final = 16_000_000


def _fault(spool: BinaryIO) -> str:
    """What keeps the zip from being read to its end; empty for a whole one.

    It is read twice for that, which costs a tenth: an event that was given can't be taken back.
    """
    try:
        with zipfile.ZipFile(spool) as archive:
            for member in _members(archive):
                with archive.open(member) as part, _plain(part) as stream:
                    while stream.read(_CHUNK):
                        pass
    except _DAMAGED as error:
        return str(error) or type(error).__name__
    return ""


def _unzip(spool: BinaryIO) -> Iterator[list[Exported]]:
    with zipfile.ZipFile(spool) as archive:
        for member in _members(archive):
            with archive.open(member) as part:
                yield from read_events(part, member.filename)


def _members(archive: zipfile.ZipFile) -> Iterator[zipfile.ZipInfo]:
    return (member for member in archive.infolist() if not member.is_dir())


def _plain(stream: Any) -> Any:
    """The bytes of *stream* (of which some can be looked at ahead), inflated where they are gzip."""
    if stream.peek(2).startswith(b"\x1f\x8b"):
        return igzip.IGzipFile(fileobj=stream)  # type: ignore[no-untyped-call]
    return stream


def read_events(stream: Any, name: str) -> Iterator[list[Exported]]:
    """The events of JSON lines, gzip or not, some at a time; *name* is what errors call them.

    *stream* is buffered (it has `peek`). Raises `ReadError` for what is no event, and one of `_DAMAGED`.
    """
    plain, rest = _plain(stream), b""
    while chunk := plain.read(_CHUNK):
        lines, newline, tail = chunk.rpartition(b"\n")
        if not newline:
            rest += chunk
            if len(rest) > _LONGEST_LINE:
                raise _no_events(name, f"a line has more than {_LONGEST_LINE:,} bytes")
            continue
        yield _parsed(rest + lines, name)
        rest = tail
    if rest:
        yield _parsed(rest, name)


def _parsed(lines: bytes, name: str) -> list[Exported]:
    # One call for all lines takes half the time of a call each; no line end stands inside of one.
    try:
        events = orjson.loads(b"[%b]" % lines.replace(b"\n", b","))
    except orjson.JSONDecodeError:
        try:
            events = [_line(line) for line in lines.split(b"\n") if line.strip()]
        except (ValueError, RecursionError) as error:
            raise _no_events(name, f"a line is no JSON: {error}") from None
    for event in events:
        if type(event) is not dict:
            raise _no_events(name, "a line is no object")
    return cast("list[Exported]", events)


def _line(line: bytes) -> Any:
    """One line, also with halves of characters, which events of others may hold."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        loose = json.loads(line.decode("utf-8", "replace"), parse_constant=lambda _: None)
        return orjson.loads(json.dumps(loose, ensure_ascii=False).encode("utf-8", "replace"))


def _no_events(name: str, why: str) -> ReadError:
    return ReadError(
        f"{name} holds no exported events ({why})",
        remedy="Look at it: it is to hold JSON lines, as Amplitude exports them.",
    )


_FILE: Final = re.compile(
    r"(?:.*/)?(?!-)[^/]+_(?P<day>\d{4}-\d\d-\d\d)_(?P<hour>\d{1,2})(?:#(?P<part>\d+))?\.json\.gz"
)


class RawExport(_Download):
    """Files of Amplitude's raw export (amplitude-read.md, 3) below a prefix, chosen by the hour they name.

    A file may hold events of several hours, so those of an hour before and after are looked at, too. Markers
    (`_complete`) and files of merged ids (`-ORG_...`) are left alone.
    """

    def __init__(self, store: Store, prefix: str, uri: str, *, max_download: int | None = None) -> None:
        super().__init__(max_download)
        self._store = store
        self._prefix = prefix
        self._uri = uri

    def batches(self, since: datetime, until: datetime) -> Iterator[list[Exported]]:
        since, until = hour_of(since), hour_of(until)
        wanted = _Wanted(f"{since:%Y-%m-%d %H}", f"{until:%Y-%m-%d %H}")
        files, newest = self._files(since, until)
        for stored in files:
            self.count(stored.size)
            yield from map(wanted.of, self._read(stored))
        newest = max(newest, wanted.newest)
        if newest < until:
            left = _Span(max(since, newest + _HOUR), until)
            raise NotLoadedError(
                f"Amplitude's raw export at {self._uri} ends with {newest:%Y-%m-%dT%H}, before {left}",
                remedy="Wait for its next files, or look at the export in Amplitude.",
                since=left.first,
            )

    def close(self) -> None:
        """A store has nothing to close."""

    def _files(self, since: datetime, until: datetime) -> tuple[list[StoredObject], datetime]:
        """Those that may hold events of these hours, and the newest hour that any file names."""
        found: list[tuple[datetime, str, StoredObject]] = []
        newest: datetime | None = None
        for page in self._store.pages(self._prefix):
            for stored in page.objects:
                hour = _hour_of_file(stored.key)
                if hour is None:
                    continue
                newest = max(newest or hour, hour)
                if since - _HOUR <= hour <= until + _HOUR:
                    found.append((hour, stored.key, stored))
        if newest is None:
            raise ReadError(
                f"there is no file of Amplitude's raw export below {self._uri}",
                remedy="Name the folder that holds PROJECT_yyyy-MM-dd_H#PART.json.gz, at any depth.",
            )
        return [stored for _, _, stored in sorted(found, key=lambda each: each[:2])], newest

    def _read(self, stored: StoredObject) -> Iterator[list[Exported]]:
        name = f"{self._store.uri}/{stored.key}"
        try:
            with closing(self._store.open(stored.key, etag=stored.etag, size=stored.size)) as stream:
                yield from read_events(io.BufferedReader(cast("io.RawIOBase", stream)), name)
        except FileError as error:
            raise ReadError(error.message, remedy=error.remedy) from error
        except _DAMAGED as error:
            raise ReadError(
                f"{name} is damaged ({error or type(error).__name__})",
                remedy="Have Amplitude export its hour again; see whether something else writes there.",
            ) from error


def _hour_of_file(key: str) -> datetime | None:
    match = _FILE.fullmatch(key)
    if match is None:
        return None
    try:
        return datetime.fromisoformat(match["day"]).replace(hour=int(match["hour"]), tzinfo=UTC)
    except ValueError:
        return None


@dataclass(slots=True)
class _Wanted:
    """Hours of `server_upload_time`, as Amplitude writes them: `2026-10-01 05`; `latest` was seen so far."""

    first: str
    last: str
    latest: str = "0001-01-01 00"

    def of(self, events: Sequence[Exported]) -> list[Exported]:
        hours = list(map(self._hour, events))
        self.latest = max(self.latest, *hours) if hours else self.latest
        return [event for event, hour in zip(events, hours, strict=True) if self.first <= hour <= self.last]

    @property
    def newest(self) -> datetime:
        """The newest hour of all events that were looked at."""
        try:
            return datetime.fromisoformat(f"{self.latest}:00+00:00")
        except ValueError:
            return datetime.min.replace(tzinfo=UTC)

    def _hour(self, event: Exported) -> str:
        text = event.get("server_upload_time")
        if isinstance(text, str) and text[4:5] == "-" and text[10:11] == " ":
            return text[:13]
        moment = parse_time(text)
        return self.first if moment is None else f"{moment:%Y-%m-%d %H}"  # what tells no time is not left out


_TIME: Final = re.compile(
    r"(\d{4})[-:/](\d\d)[-:/](\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,6})\d*)?\s*(Z|UTC|[+-]\d\d:?\d\d)?"
)


def parse_time(text: object) -> datetime | None:
    """A time of an exported event, in UTC; None for what is none.

    Amplitude writes `2026-10-01 05:00:00.123000`, has written `2022:05:01 10:00:00.000` (2.4), and documents
    ISO 8601: all are taken, with a zone or, being UTC, without.
    """
    match = _TIME.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    offset = "+00:00" if zone in (None, "Z", "UTC") else zone
    try:
        moment = datetime.fromisoformat(
            f"{year}-{month}-{day}T{hour}:{minute}:{second}.{(fraction or '0').ljust(6, '0')}{offset}"
        )
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
