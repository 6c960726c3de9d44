"""Exported events, whatever they come from and whatever happens on the way: one suite for all sources."""

from __future__ import annotations

import errno
import gzip
import io
import os
import re
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import boto3
import orjson
import pytest

from braze_etl.amplitude import export, rest
from braze_etl.amplitude.export import AMPLITUDE, ExportSource, open_export, parse_time
from braze_etl.clock import ManualClock
from braze_etl.errors import KeyRefusedError, NotLoadedError, ReadError
from braze_etl.sandbox.amplitude.project import Project
from braze_etl.sandbox.amplitude.read_api import ReadOptions
from braze_etl.sandbox.faults import parse_faults
from braze_etl.sandbox.server import SandboxServer
from braze_etl.storage.settings import StoreAccess
from tests.amplitude.exports import (
    SECRET,
    Answer,
    Event,
    ExportHandler,
    ExportServer,
    at,
    exported,
    name_of,
    packed,
    settings,
    zipped,
)
from tests.delivery.conftest import KEY
from tests.hostile import NEVER_DONE, Manners, hostile
from tests.s3_server import Bucket
from tests.serving import serving, url_of

HOUR = timedelta(hours=1)
FIRST = at("2026-10-01T05")
LATER = at("2026-10-05T00")
Held: TypeAlias = dict[datetime, Sequence[Sequence[Event]]]
Open: TypeAlias = Callable[..., ExportSource]


def hours(count: int, *, events: int = 5, parts: int = 2) -> Held:
    """So many hours from FIRST on, each with its parts."""
    numbers = iter(range(count * parts * events))
    return {
        (hour := FIRST + index * HOUR): [
            [exported(next(numbers), hour) for _ in range(events)] for _ in range(parts)
        ]
        for index in range(count)
    }


def ids(source: ExportSource, since: datetime, until: datetime) -> list[str]:
    return sorted(event["$insert_id"] for batch in source.batches(since, until) for event in batch)


def ids_of(held: Held) -> list[str]:
    return sorted(event["$insert_id"] for parts in held.values() for part in parts for event in part)


def files(held: Held) -> dict[str, bytes]:
    return {
        name_of(hour, part): packed(events)
        for hour, parts in held.items()
        for part, events in enumerate(parts)
    }


def said(status: int, content: bytes = b"", **headers: str) -> Answer:
    return lambda handler: handler.answer(status, content, **headers)


def short_body(handler: ExportHandler) -> None:
    handler.cut(handler.zip())


def short_body_that_says_it_is_whole(handler: ExportHandler) -> None:
    whole = handler.zip()
    handler.answer(200, whole[: len(whole) // 2])


def zip_without_its_directory(handler: ExportHandler) -> None:
    handler.answer(200, handler.zip()[:-30])


def member_of_other_content(handler: ExportHandler) -> None:
    whole = bytearray(handler.zip())
    whole[300] ^= 1
    handler.answer(200, bytes(whole))


def member_that_is_cut(handler: ExportHandler) -> None:
    parts = [packed(part) for hour in handler.hours for part in handler.server.held[hour]]
    cut = parts[-1][:-9]
    handler.answer(200, zipped({f"{n}.json.gz": part for n, part in enumerate([*parts[:-1], cut])}))


def encrypted_member(handler: ExportHandler) -> None:
    whole = bytearray(zipped({"a.json.gz": packed([])}))
    for signature, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at_flag = whole.rindex(signature) + offset
        whole[at_flag] |= 1
    handler.answer(200, bytes(whole))


def in_chunks(handler: ExportHandler, size: int, content: bytes) -> None:
    """Send it chunked, in pieces of so many bytes."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for start in range(0, len(content), size):
        piece = content[start : start + size]
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
    handler.wfile.write(b"0\r\n\r\n")


def trickle(handler: ExportHandler) -> None:
    """Begin a zip, and go on with a chunk of a byte 20 times a second, without an end."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"2\r\nPK\r\n")
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        handler.wfile.write(b"1\r\nx\r\n")
        time.sleep(0.05)


DAMAGES: tuple[Answer, ...] = (
    short_body,
    short_body_that_says_it_is_whole,
    zip_without_its_directory,
    member_of_other_content,
    member_that_is_cut,
    encrypted_member,
)

OTHER_FILES = (
    "187520/187520_2026-10-01_5_complete",
    "187520_2026-10-01_5#0.json.gz_complete",
    "187520/-1234_2026-10-01_5.json.gz",
    "187520/187520_2026-10-01_25#0.json.gz",
    "187520/187520_2026-13-01_5#0.json.gz",
    "187520/187520_2026-10-01_5#0.json.gz.tmp",
    "manifest.json",
)


class FullDisk(io.BytesIO):
    def write(self, _data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def take(project: Project, number: int) -> None:
    event = {"event_type": "opened", "user_id": f"user-{number:06}", "insert_id": f"id-{number}"}
    assert project.ingest("/batch", orjson.dumps({"api_key": KEY, "events": [event]})).status == 200


@contextmanager
def over_http() -> Iterator[Open]:
    """Opens the Export API, which holds these hours."""
    with serving(ExportServer({})) as server:

        def open_it(held: Held, _besides: dict[str, bytes] | None = None, **more: Any) -> ExportSource:
            server.held = held
            return open_export(AMPLITUDE, settings(url_of(server)), ManualClock(LATER), **more)

        yield open_it


def at_rest(folder: Path, bucket: Bucket | None) -> Open:
    """Opens a raw export of these hours, with these files besides, in a bucket or else a folder."""

    def open_it(held: Held, besides: dict[str, bytes] | None = None, **more: Any) -> ExportSource:
        for name, content in {**files(held), **(besides or {})}.items():
            if bucket is None:
                path = folder / "raw" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            else:
                client = boto3.client("s3", endpoint_url=bucket.endpoint_url)
                client.put_object(Bucket=bucket.name, Key=f"exports/raw/{name}", Body=content)
        uri = str(folder / "raw") if bucket is None else f"{bucket.uri}/exports"
        access = StoreAccess(endpoint_url=bucket.endpoint_url if bucket else None)
        return open_export(uri, settings(), ManualClock(LATER), access=access, **more)

    return open_it


@pytest.fixture(params=["folder", "s3"])
def opened_at_rest(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    return at_rest(tmp_path, request.getfixturevalue("bucket") if request.param == "s3" else None)


@pytest.fixture(params=["api", "folder", "s3"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    if request.param == "api":
        with over_http() as one:
            yield one
    else:
        yield at_rest(tmp_path, request.getfixturevalue("bucket") if request.param == "s3" else None)


class TestEverySource:
    def test_gives_the_events_of_the_hours_between_and_including_both_ends(self, opened: Open) -> None:
        held = hours(12)
        source = opened(held)
        wanted = {hour: held[hour] for hour in list(held)[2:6]}
        assert ids(source, FIRST + 2 * HOUR, FIRST + 5 * HOUR + timedelta(minutes=59)) == ids_of(wanted)
        assert ids(source, FIRST + 7 * HOUR, FIRST + 7 * HOUR) == ids_of({FIRST: held[FIRST + 7 * HOUR]})
        assert source.downloaded > 0

    def test_gives_events_as_they_are(self, opened: Open) -> None:
        event = exported(7, FIRST)
        [[given]] = opened({FIRST: [[event]]}).batches(FIRST, FIRST)
        assert given == event

    def test_gives_nothing_for_hours_without_events(self, opened: Open) -> None:
        held = hours(3)
        assert ids(opened(held), FIRST - 9 * HOUR, FIRST - HOUR) == []
        assert ids(opened(held), FIRST - 9 * HOUR, FIRST) == ids_of({FIRST: held[FIRST]})

    def test_counts_what_it_takes_and_stops_at_the_bound(self, opened: Open) -> None:
        held = hours(6, events=300)
        whole = opened(held)
        ids(whole, FIRST, FIRST + 5 * HOUR)
        source = opened(held, max_download=whole.downloaded // 2)
        with pytest.raises(ReadError) as caught:
            ids(source, FIRST, FIRST + 5 * HOUR)
        assert "--max-download" in caught.value.remedy
        assert ids(opened(held, max_download=whole.downloaded), FIRST, FIRST + 5 * HOUR) == ids_of(held)


class TestExportApi:
    """The Export API and whatever may stand in its place."""

    @pytest.fixture
    def server(self) -> Iterator[ExportServer]:
        with serving(ExportServer(hours(12))) as one:
            yield one

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock(LATER)

    @pytest.fixture
    def source(self, server: ExportServer, clock: ManualClock) -> ExportSource:
        return open_export(AMPLITUDE, settings(url_of(server)), clock)

    def test_asks_for_more_hours_at_once_while_they_are_small(
        self, source: ExportSource, server: ExportServer
    ) -> None:
        assert ids(source, FIRST, FIRST + 11 * HOUR) == ids_of(server.held)
        assert server.asked == [
            ("20261001T05", "20261001T05"),
            ("20261001T06", "20261001T07"),
            ("20261001T08", "20261001T11"),
            ("20261001T12", "20261001T16"),
        ]

    def test_asks_for_fewer_hours_at_once_where_they_are_large(
        self, source: ExportSource, server: ExportServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(export, "_LARGE", 3_000)
        monkeypatch.setattr(export, "_SMALL", 2_500)
        assert ids(source, FIRST, FIRST + 11 * HOUR) == ids_of(server.held)
        at_once = [int(last[-2:]) - int(first[-2:]) + 1 for first, last in server.asked]
        assert at_once == [1, 2, 4, 2, 3]

    @pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    def test_members_are_stored_or_deflated(
        self, source: ExportSource, server: ExportServer, compression: int
    ) -> None:
        server.always = lambda handler: handler.give(handler.zip(compression))
        assert ids(source, FIRST, FIRST + 11 * HOUR) == ids_of(server.held)

    def test_lines_need_no_end_and_may_be_blank(self, source: ExportSource, server: ExportServer) -> None:
        lines = b'\r\n\n{"$insert_id": "a"}\r\n\n{"$insert_id": "b",\t"x": "\\n"}'
        content = {"187520/one.json.gz": gzip.compress(lines), "187520/two.json": lines, "empty.json.gz": b""}
        server.always = lambda handler: handler.give(zipped(content))
        assert ids(source, FIRST, FIRST) == ["a", "a", "b", "b"]

    def test_an_empty_zip_is_an_empty_hour(self, source: ExportSource, server: ExportServer) -> None:
        server.always = lambda handler: handler.answer(200, zipped({}))
        assert ids(source, FIRST, FIRST + HOUR) == []

    @pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
    def test_what_came_damaged_is_asked_for_again_and_nothing_of_it_is_given(
        self, source: ExportSource, server: ExportServer, damage: Answer
    ) -> None:
        server.script = [damage] * 3
        assert ids(source, FIRST, FIRST + HOUR) == ids_of(
            {hour: server.held[hour] for hour in list(server.held)[:2]}
        )
        server.script = [damage] * 4
        given = source.batches(FIRST, FIRST)
        with pytest.raises(ReadError, match="4 times in a row"):
            next(given)

    @pytest.mark.parametrize(
        "answer",
        [
            said(200, b'{"error": "try again later"}'),
            said(200, b"<html>Please log in</html>"),
            said(200),
            said(500),
            said(502, b"<html>bad gateway</html>"),
            said(429),
            said(429, Retry_After="3"),
        ],
    )
    def test_what_passes_is_overcome(
        self, source: ExportSource, server: ExportServer, clock: ManualClock, answer: Answer
    ) -> None:
        server.script = [answer, answer]
        assert ids(source, FIRST, FIRST + 11 * HOUR) == ids_of(server.held)
        assert sum(clock.waits) > 5

    def test_what_came_in_place_of_a_zip_is_quoted(self, source: ExportSource, server: ExportServer) -> None:
        server.always = said(200, b'{"error": {"type": "internal", "message": "try again later"}}')
        with pytest.raises(ReadError, match=r"\(HTTP 200: internal: try again later\), 4 times in a row"):
            ids(source, FIRST, FIRST)

    @pytest.mark.parametrize("status", [400, 413, 504])
    def test_half_the_hours_are_asked_for_where_all_are_too_many(
        self, source: ExportSource, server: ExportServer, status: int
    ) -> None:
        def refuse_many(handler: ExportHandler) -> None:
            handler.answer(status, b"too large") if len(handler.hours) > 2 else handler.give()

        server.always = refuse_many
        assert ids(source, FIRST, FIRST + 11 * HOUR) == ids_of(server.held)
        assert len(server.asked) < 14

    @pytest.mark.parametrize("status", [400, 504])
    def test_an_hour_that_is_too_much_leads_to_the_raw_export(
        self, source: ExportSource, server: ExportServer, status: int
    ) -> None:
        server.script = [ExportHandler.give, ExportHandler.give]
        server.always = said(status, b'{"error": {"type": "bad_request", "message": "malformed date"}}')
        with pytest.raises(ReadError, match=r"the hour 2026-10-01T08 .*malformed date") as caught:
            ids(source, FIRST, FIRST + 11 * HOUR)
        assert "--export s3://" in caught.value.remedy
        assert server.asked[2:] == [
            ("20261001T08", "20261001T11"),
            ("20261001T08", "20261001T09"),
            *[("20261001T08", "20261001T08")] * (2 if status == 504 else 1),
        ]

    def test_an_hour_whose_gateway_had_a_bad_moment_comes_after_all(
        self, source: ExportSource, server: ExportServer
    ) -> None:
        server.script = [said(504)]
        assert ids(source, FIRST, FIRST) == ids_of({FIRST: server.held[FIRST]})

    def test_halves_of_characters_in_an_event_of_others_keep_nothing_from_being_read(
        self, source: ExportSource, server: ExportServer
    ) -> None:
        odd = (rb'{"$insert_id": "a\ud83d", "x": NaN}', b'{"$insert_id": "b\xff"}', b'{"$insert_id": "c"}')
        server.always = lambda handler: handler.give(zipped({"x.json.gz": gzip.compress(b"\n".join(odd))}))
        assert ids(source, FIRST, FIRST) == ["a?", "b\ufffd", "c"]

    @pytest.mark.parametrize("status", [401, 403])
    def test_wrong_keys_are_told_at_once(
        self, source: ExportSource, server: ExportServer, status: int
    ) -> None:
        server.always = said(status)
        with pytest.raises(KeyRefusedError):
            ids(source, FIRST, FIRST)
        assert len(server.asked) == 1

    def test_pages_of_somebody_else_are_no_empty_hours(
        self, source: ExportSource, server: ExportServer
    ) -> None:
        server.always = said(404, b"<!DOCTYPE html><title>Not found</title>")
        with pytest.raises(ReadError, match="was not found: HTTP 404") as caught:
            ids(source, FIRST, FIRST + 3 * HOUR)
        assert "amplitude.read_endpoint" in caught.value.remedy
        server.script = [ExportHandler.give]
        again = open_export(AMPLITUDE, settings(url_of(server)), ManualClock(LATER))
        assert len(ids(again, FIRST, FIRST + 3 * HOUR)) == 10

    @pytest.mark.parametrize(
        ("content", "why"),
        [(b'{"$insert_id": "a"}\n{"$insert', "no JSON"), (b"7\n8\n", "no object"), (b"[[]", "no JSON")],
    )
    def test_members_that_hold_no_events_are_told_of_by_name(
        self, source: ExportSource, server: ExportServer, content: bytes, why: str
    ) -> None:
        server.always = lambda handler: handler.give(zipped({"187520/x.json.gz": gzip.compress(content)}))
        with pytest.raises(ReadError, match=f"187520/x.json.gz holds no exported events .*{why}"):
            ids(source, FIRST, FIRST)

    def test_a_download_stops_in_the_middle_at_the_bound(
        self, server: ExportServer, clock: ManualClock
    ) -> None:
        whole = zipped({"big.json": os.urandom(8_000_000)})
        server.always = lambda handler: handler.give(whole)
        source = open_export(AMPLITUDE, settings(url_of(server)), clock, max_download=1_000_000)
        with pytest.raises(ReadError, match="more than 1,000,000 bytes"):
            ids(source, FIRST, FIRST)
        assert source.downloaded < 2_000_000

    def test_nothing_is_left_on_the_disk(
        self, source: ExportSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        given = source.batches(FIRST, FIRST)
        next(given)
        assert list(tmp_path.iterdir()) == []  # it has no name even now, so a kill leaves nothing either

    def test_a_full_disk_is_told_of(self, source: ExportSource, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(export, "TemporaryFile", lambda **_: FullDisk())
        with pytest.raises(ReadError, match="No space left on device") as caught:
            ids(source, FIRST, FIRST)
        assert "TMPDIR" in caught.value.remedy

    @pytest.mark.parametrize("manners", NEVER_DONE, ids=lambda manners: manners.__name__)
    def test_no_peer_holds_a_download_for_longer(
        self, manners: Manners, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rest, "FIRST_SECONDS", 0.3)
        monkeypatch.setattr(rest, "PIECE_SECONDS", 0.3)
        monkeypatch.setattr(rest, "ATTEMPTS", 1)
        began = time.monotonic()
        with hostile(manners) as peer, pytest.raises(ReadError):
            ids(open_export(AMPLITUDE, settings(peer.url), clock), FIRST, FIRST)
        assert time.monotonic() - began < 10

    def test_a_zip_that_trickles_in_does_not_hold_a_download(
        self, source: ExportSource, server: ExportServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rest, "PIECE_SECONDS", 0.3)
        monkeypatch.setattr(rest, "ATTEMPTS", 1)
        server.always = trickle
        began = time.monotonic()
        with pytest.raises(ReadError):
            ids(source, FIRST, FIRST)
        assert time.monotonic() - began < 20

    def test_a_zip_may_begin_with_a_chunk_of_one_byte(
        self, source: ExportSource, server: ExportServer
    ) -> None:
        server.always = lambda handler: in_chunks(handler, 1, handler.zip())
        assert ids(source, FIRST, FIRST) == ids_of({FIRST: server.held[FIRST]})
        assert len(server.asked) == 1

    def test_the_stand_in_is_read_as_amplitude_is(self, clock: ManualClock) -> None:
        reads = ReadOptions(SECRET)
        project = Project(clock=lambda: clock.now().timestamp(), api_key=KEY, reads=reads)
        with SandboxServer(project) as stand_in:
            for number in range(40):
                take(project, number)
                clock.advance(600)
            source = open_export(AMPLITUDE, settings(stand_in.url), clock)
            with pytest.raises(NotLoadedError):
                ids(source, LATER, clock.now())
            clock.advance(3 * 3600)
            assert ids(source, LATER, LATER + 6 * HOUR) == sorted(f"id-{number}" for number in range(40))
            stand_in.faults = parse_faults(
                "- {when: {path: /api/2/export}, do: {truncate_reply: true}, times: 1}\n"
                "- {when: {path: /api/2/export}, do: {reset: during_reply}, times: 1}\n"
                "- {when: {path: /api/2/export}, do: {reply: {status: 504}}, times: 1}\n"
            )
            assert ids(source, LATER, LATER + 6 * HOUR) == sorted(f"id-{number}" for number in range(40))


class TestRawExport:
    """Amplitude's files at rest."""

    @pytest.mark.parametrize("name", OTHER_FILES)
    def test_other_files_are_left_alone(self, opened_at_rest: Open, name: str) -> None:
        held = hours(2)
        assert ids(opened_at_rest(held, {name: b"no export"}), FIRST, FIRST + HOUR) == ids_of(held)

    def test_a_file_may_hold_events_of_the_hours_around_its_own(self, opened_at_rest: Open) -> None:
        late = [exported(number, FIRST + HOUR * (number % 3)) for number in range(30)]
        source = opened_at_rest({FIRST + HOUR: [late]})
        assert ids(source, FIRST, FIRST + 2 * HOUR) == sorted(event["$insert_id"] for event in late)
        assert ids(source, FIRST, FIRST) == sorted(f"id-{number}" for number in range(0, 30, 3))

    def test_times_in_any_form_are_told_apart(self, opened_at_rest: Open) -> None:
        times = ["2026:10:01 05:10:00.000", "2026-10-01T05:10:00Z", "2026-10-01T06:10:00Z", None, 7]
        events = [exported(number, FIRST, server_upload_time=text) for number, text in enumerate(times)]
        assert ids(opened_at_rest({FIRST: [events]}), FIRST, FIRST) == ["id-0", "id-1", "id-3", "id-4"]

    def test_an_export_that_has_not_come_so_far_is_told_of(self, opened_at_rest: Open) -> None:
        source = opened_at_rest(hours(2))
        with pytest.raises(
            NotLoadedError, match="ends with 2026-10-01T06, before 2026-10-01T07 to 2026-10-01T09"
        ):
            ids(source, FIRST + 2 * HOUR, FIRST + 4 * HOUR)

    def test_an_export_that_ends_within_the_hours_gives_what_there_is_and_tells_from_when_on(
        self, opened_at_rest: Open
    ) -> None:
        held = hours(3, events=1, parts=1)
        batches = opened_at_rest(held).batches(FIRST, FIRST + 5 * HOUR)
        assert [event["$insert_id"] for _ in held for event in next(batches)] == ids_of(held)
        with pytest.raises(NotLoadedError, match="ends with 2026-10-01T07, before 2026-10-01T08") as caught:
            next(batches)
        assert caught.value.since == FIRST + 3 * HOUR

    def test_a_folder_without_an_export_is_told_of(self, opened_at_rest: Open) -> None:
        with pytest.raises(ReadError, match="there is no file of Amplitude's raw export below"):
            ids(opened_at_rest({}, {"readme.txt": b"x"}), FIRST, FIRST)

    @pytest.mark.parametrize(
        "content",
        [
            packed([exported(1, FIRST)] * 900)[:-500],
            packed([])[:5],
            b"\x1f\x8bnothing",
            b"\x1f\x8b\x08" + bytes(99),
        ],
    )
    def test_a_cut_file_is_told_of_by_name(self, opened_at_rest: Open, content: bytes) -> None:
        name = name_of(FIRST, 7)
        with pytest.raises(ReadError, match=f"{re.escape(name)} is damaged"):
            ids(opened_at_rest({}, {name: content}), FIRST, FIRST)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-10-01 05:00:01.123000", "2026-10-01T05:00:01.123000+00:00"),
        ("2022:05:01 10:00:00.000", "2022-05-01T10:00:00+00:00"),
        ("2022:05:01 10:00:00", "2022-05-01T10:00:00+00:00"),
        ("2026-10-01T05:00:01Z", "2026-10-01T05:00:01+00:00"),
        ("2026-10-01T05:00:01.5+02:00", "2026-10-01T03:00:01.500000+00:00"),
        ("2026-10-01T05:00:01.123456789Z", "2026-10-01T05:00:01.123456+00:00"),
        ("2026-13-01 05:00:01", None),
        ("0001-01-01 00:00:00+05:00", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        (1_790_000_000, None),
    ],
)
def test_times_are_read_however_amplitude_writes_them(text: object, moment: str | None) -> None:
    found = parse_time(text)
    assert (found and found.isoformat()) == moment


def test_an_hour_that_is_not_over_for_long_is_not_known_to_be_empty() -> None:
    with serving(ExportServer(hours(2, parts=1))) as server:
        clock = ManualClock(FIRST + 5 * HOUR - timedelta(seconds=1))  # the hour 07 is loaded in a second
        source = open_export(AMPLITUDE, settings(url_of(server)), clock)
        given = source.batches(FIRST, FIRST + 9 * HOUR)
        assert len([next(given), next(given)]) == 2
        with pytest.raises(NotLoadedError, match="2026-10-01T07 yet") as caught:
            next(given)
        assert caught.value.remedy == "Try again after 2026-10-01T10:00:00Z."
        clock.advance(1)
        assert list(source.batches(FIRST + 2 * HOUR, FIRST + 2 * HOUR)) == []


def test_what_an_hour_has_before_it_is_over_is_given_to_who_asks_for_it() -> None:
    with serving(ExportServer(hours(3, parts=1))) as server:
        clock = ManualClock(FIRST + 2 * HOUR + timedelta(minutes=30))
        source = open_export(AMPLITUDE, settings(url_of(server)), clock, delay=timedelta(0))
        assert len(list(source.batches(FIRST - 2 * HOUR, FIRST + 2 * HOUR))) == 3
        with pytest.raises(NotLoadedError):
            list(source.batches(FIRST + 3 * HOUR, FIRST + 3 * HOUR))
