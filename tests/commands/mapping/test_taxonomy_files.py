from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from braze_etl.commands.mapping.taxonomy import read_taxonomy
from braze_etl.errors import UsageError

EVENTS = [
    {
        "event_type": "[Appboy] Email Open",
        "library": "Braze",
        "event_properties": {
            "campaign_id": "c",
            "machine_open": None,
            "count": 1,
            "tags": ["a"],
            "nested": {},
        },
    },
    {"event_type": "[Appboy] Email Open", "library": "Braze", "event_properties": {"count": "one"}},
    {"event_type": "Login", "library": "amplitude-js/1", "event_properties": None},
]
LINES = "".join(json.dumps(event) + "\n" for event in EVENTS).encode()
CSV = b"Object Type,Object Name,Event Property Name\nEvent,Login,\n,,method\n"


def zipped(*members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.mkdir("123")
        for number, member in enumerate(members):
            archive.writestr(f"123/2026-11-01_{number}#0.json.gz", member)
    return stream.getvalue()


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    def put(data: bytes, name: str = "some.file") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return put


@pytest.mark.parametrize(
    "data",
    [
        LINES,
        b"\xef\xbb\xbf" + LINES,
        b"\n" * 9 + LINES + b"\n\n",
        gzip.compress(LINES),
        zipped(LINES),
        zipped(gzip.compress(LINES)),
    ],
    ids=[
        "plain",
        "with a mark",
        "with empty lines",
        "gzip",
        "zip",
        "gzip in zip",
    ],  # their bytes hold the time
)
def test_exported_events_are_read_in_whatever_they_are_packed(data: bytes, put: Callable[..., Path]) -> None:
    taxonomy = read_taxonomy([put(data)])
    assert (taxonomy.events_read, taxonomy.is_complete) == (3, False)
    opened, login = taxonomy.events["[Appboy] Email Open"], taxonomy.events["Login"]
    assert opened.properties == {
        "campaign_id": {"string"},
        "count": {"number", "string"},
        "tags": {"string[]"},
        "nested": set(),
    }
    assert opened.is_brazes
    assert not login.is_brazes


def test_several_files_are_read_as_one(put: Callable[..., Path]) -> None:
    taxonomy = read_taxonomy([put(CSV, "plan.csv"), put(zipped(LINES, gzip.compress(LINES)), "day.zip")])
    assert (taxonomy.events_read, taxonomy.is_complete) == (6, True)
    assert list(taxonomy.events["Login"].properties) == ["method"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (gzip.compress(LINES)[:-20], "can't be read"),
        (zipped(LINES)[:-30], "can't be read"),
        (b"\x00\xff\xfe\x01" * 20, "can't be read"),
        (LINES + b"{oops\n", "line 4 is no JSON"),
        (b'{"a": 1}\n', "line 1 is no event"),
        (zipped(gzip.compress(gzip.compress(LINES))), "packed more than 2 times"),
        (b"", "is no taxonomy of events"),
        (b"[1]", "is no taxonomy of events"),
    ],
    ids=["cut gzip", "cut zip", "noise", "bad line", "no event", "packed thrice", "empty", "a list"],
)
def test_a_file_that_can_not_be_read_is_named_with_its_trouble(
    data: bytes, words: str, put: Callable[..., Path]
) -> None:
    with pytest.raises(UsageError) as raised:
        read_taxonomy([put(data)])
    assert "some.file" in raised.value.message
    assert words in raised.value.message
    assert raised.value.remedy


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        (
            "day.zip",
            CSV,
            "day.zip should be a zip of exported events, but begins with 'Object Type,Object N'",
        ),
        ("day.ZIP", b"", "day.ZIP should be a zip of exported events, but is empty"),
        ("day.zip", b"\x00\x01", "should be a zip of exported events, but begins with the bytes 00 01"),
        (
            "day.zip",
            zipped()[-22:],
            "should be a zip of exported events, but is a zip file with nothing in it",
        ),
        ("day.json", b"", "day.json should be events in JSON, one on each line, but is empty"),
        ("day.json", b"[1]", "should be events in JSON, one on each line, but begins with '[1]'"),
        ("day.json.gz", b"", "day.json.gz should be a gzip file, but is empty"),
        (
            "day.json.gz",
            gzip.compress(b"", mtime=0),
            "day.json.gz should be events in JSON, one on each line, but is empty",
        ),
        ("day.json", b"[\n1]", "but begins with '[\\n1]'"),
        ("day.zip", b"\xe9t\xe9", "but begins with the bytes e9 74 e9"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_told_from_what_it_is(
    name: str, data: bytes, words: str, put: Callable[..., Path]
) -> None:
    with pytest.raises(UsageError) as raised:
        read_taxonomy([put(data, name)])
    assert words in raised.value.message
    assert ".zip, .json.gz, .json" in raised.value.remedy


def test_what_a_file_holds_counts_more_than_its_name(put: Callable[..., Path]) -> None:
    files = [
        put(LINES, "day.zip"),
        put(gzip.compress(LINES), "day.json"),
        put(gzip.compress(CSV), "plan.csv.gz"),
    ]
    taxonomy = read_taxonomy(files)
    assert (taxonomy.events_read, taxonomy.is_complete) == (6, True)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        read_taxonomy([tmp_path / "nowhere"])


def test_a_member_of_an_archive_is_named_with_it(put: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match=r"some\.file, 123/2026-11-01_1#0\.json\.gz: line 1"):
        read_taxonomy([put(zipped(LINES, b"{oops\n"))])
