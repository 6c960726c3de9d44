"""Small files that ask for much: they end, in words, and everything beside them arrives."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.faults.hostile import KINDS, begin, block, file, header, schema
from tests.faults.poison import poison
from tests.workplace import Workplace, balanced

_FOLDER = "dataexport.prod-01.S3.integration.{}/event_type=users.messages.email.Open/date=2026-10-01-00/7/a"
_CONNECTOR = "0123456789abcdef01234567"
_NO_HARM = {"a decimal of megabytes", "a scale of a thousand million"}
"""Values that stay as they are stored."""


def _put(place: Workplace, number: int, data: bytes) -> Path:
    folder = place.source / _FOLDER.format(_CONNECTOR)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"dataexport.prod-01.S3.integration.{_CONNECTOR}+7+{number:06d}.avro"
    path.write_bytes(data)
    return path


def test_files_that_ask_for_more_than_there_is_are_set_aside_in_words_and_hold_nothing(
    place: Workplace,
) -> None:
    written = place.export(events=300, hours=1, duplicates=0)
    names = {_put(place, number, make()).name: name for number, (name, make) in enumerate(KINDS.items())}

    report = place.run()

    assert report["exit_code"] == 3
    assert report["files"]["failed"] == len(KINDS) - len(_NO_HARM)
    assert report["files"]["remaining"] == 0
    assert set(written.must_arrive()) <= set(place.accepted_ids())
    entries = place.do("quarantine", "list", "--output", "json", "--limit", "9999").json["entries"]
    assert {entry["reason"] for entry in entries} == {"damaged_block", "unreadable_file"}
    assert max(Counter(entry["key"] for entry in entries).values()) <= 101  # each, and the rest
    assert {names[Path(entry["key"]).name] for entry in entries} == set(KINDS) - _NO_HARM
    again = place.run()
    assert (again["exit_code"], again["files"]["discovered"]) == (0, 0)


def test_blocks_of_no_records_are_no_damage_and_the_blocks_beside_them_arrive(place: Workplace) -> None:
    for number, codec in enumerate(("null", "deflate", "zstandard")):
        user = f"{number}001"
        empty = block(0, b"", codec)
        full = block(1, begin(int(user)), codec)
        _put(place, number, header(schema(), codec) + empty + full + empty + empty)
    report = place.run()
    assert (report["exit_code"], report["events"]["accepted"]) == (0, 3)
    assert report["files"]["done"] == 3


def test_a_block_of_no_records_that_has_bytes_is_damage(place: Workplace) -> None:
    _put(place, 0, file(schema(), (0, begin()), (1, begin(1))))
    report = place.run()
    assert (report["exit_code"], report["reasons"], report["events"]["accepted"]) == (
        3,
        {"damaged_block": 1},
        1,
    )


def test_a_file_that_holds_its_reader_is_given_up_and_set_aside_and_all_others_arrive(
    place: Workplace,
) -> None:
    written = place.export(events=300, hours=1, duplicates=0)
    loop, in_c = (path.relative_to(place.source).as_posix() for path in place.files()[2:4])
    acts = {loop: "_hang", in_c: "_hang_in_c"}
    environ = poison(place.folder, acts, patience=6)
    place.configure(workers=2)

    result = place.do("run", "--output", "json", **environ)

    assert result.code == 3, result.err
    report = balanced(result.json)
    assert (report["files"]["failed"], report["reasons"]["unreadable_file"]) == (2, 2)
    others = written.where(lambda record: record["key"] not in acts)
    assert place.accepted_ids() == written.must_arrive(others)
    assert "no sign of life for 6 s" in result.err
    entries = place.do("quarantine", "list", "--output", "json").json["entries"]
    assert {entry["key"] for entry in entries} == set(acts)
    assert all("ended a worker process" in entry["detail"] for entry in entries)
