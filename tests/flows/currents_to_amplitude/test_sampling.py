from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from braze_etl.flows.currents_to_amplitude.sampling import Sample, Sampler
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import FileRef, Reason
from braze_etl.state.ledger import BacklogLine
from braze_etl.storage.folder import FolderStore
from tests.commands.init.conftest import NOW, WriteFile

OPEN = "users.messages.email.Open"
HOUR = "2026-10-03-08"


def read(path: Path, source: Path, min_id_length: int = 5) -> Sample:
    key = path.relative_to(source).as_posix()
    hour = datetime.fromisoformat("2026-10-03T08:00:00Z")
    ref = FileRef(key, "", path.stat().st_size, NOW, OPEN, hour)
    return Sampler(
        FolderStore(source), EventMapping.load(MappingSection(), min_id_length=min_id_length)
    ).read(ref)


def test_a_sample_tells_codec_and_density(write_file: WriteFile, source: Path) -> None:
    path = write_file(OPEN, HOUR, 400, codec="deflate")
    sample = read(path, source)
    assert (sample.files, sample.records, dict(sample.codecs)) == (1, 400, {"deflate": 1})
    assert sample.events(BacklogLine(3, 3 * path.stat().st_size)) == pytest.approx(1200, rel=0.02)


def test_of_a_long_file_one_ranged_read_is_enough(write_file: WriteFile, source: Path) -> None:
    path = write_file(OPEN, HOUR, 6000)
    assert path.stat().st_size > 2_000_000
    sample = read(path, source)
    assert sample.reads == 1
    assert 500 <= sample.records < 6000
    assert sample.events(BacklogLine(1, path.stat().st_size)) == pytest.approx(6000, rel=0.05)
    assert sample.faults == []


def test_records_of_nobody_are_told_from_those_that_amplitude_refuses(
    write_file: WriteFile, source: Path
) -> None:
    assert read(write_file(OPEN, HOUR, external_user_id=None), source).without_identity == 10
    masked = read(write_file(OPEN, HOUR, external_user_id="[REDACTED]"), source)
    assert (masked.without_identity, masked.refused) == (0, 10)
    assert masked.reasons == {Reason.REDACTED_IDENTITY: 10}
    assert masked.share(masked.refused) == 1.0


def test_short_ids_tell_the_length_that_would_be_enough(write_file: WriteFile, source: Path) -> None:
    short = read(write_file(OPEN, HOUR, external_user_id="abc"), source)
    assert short.short_ids == {3: 10}
    assert read(write_file(OPEN, HOUR, external_user_id="abc"), source, min_id_length=3).refused == 0


def test_a_reserved_word_is_not_mended_by_a_shorter_length(write_file: WriteFile, source: Path) -> None:
    sample = read(write_file(OPEN, HOUR, external_user_id="null"), source)
    assert sample.refused == 10
    assert not sample.short_ids


def test_test_events_are_counted_apart(write_file: WriteFile, source: Path) -> None:
    path = write_file(OPEN, HOUR, campaign_id="campaign_id", canvas_name="canvas_name", external_user_id=None)
    sample = read(path, source)
    assert (sample.test_events, sample.judged, sample.without_identity) == (10, 0, 0)
    assert sample.share(0) is None


def test_what_can_not_be_read_is_a_fault_and_no_error(write_file: WriteFile, source: Path) -> None:
    path = write_file(OPEN, HOUR)
    path.write_bytes(b"not Avro")
    sample = read(path, source)
    assert (sample.files, sample.records, len(sample.faults)) == (0, 0, 1)
    assert sample.events(BacklogLine(1, 8)) is None


def test_a_file_cut_short_gives_its_whole_blocks_and_a_fault(write_file: WriteFile, source: Path) -> None:
    path = write_file(OPEN, HOUR, 200)
    path.write_bytes(path.read_bytes()[:-10])
    sample = read(path, source)
    assert len(sample.faults) == 1
    assert sample.records < 200


def test_samples_add_up(write_file: WriteFile, source: Path) -> None:
    whole = read(write_file(OPEN, HOUR), source)
    whole.add(read(write_file(OPEN, HOUR, codec="snappy"), source))
    assert (whole.files, whole.records, dict(whole.codecs)) == (2, 20, {"null": 1, "snappy": 1})
