from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from braze_etl.engine.latency import Histogram
from braze_etl.monitoring.exposition import Metric, Samples, exposition, write_textfile

FILES = Metric("job_files_total", "counter", "Files.", ("outcome",))
LEFT = Metric("job_left_seconds", "gauge", "Time left.")
AGE = Metric("job_age_seconds", "histogram", "Age.")


def test_a_textfile_holds_every_sample_with_help_and_common_labels(tmp_path: Path) -> None:
    age = Histogram((60.0, 300.0))
    age.observe(60, times=2)
    age.observe(1000)
    samples: Samples = {FILES.name: {("done",): 3.0}, LEFT.name: {(): -1.5}, AGE.name: {(): age}}
    write_textfile(tmp_path / "job.prom", exposition([FILES, LEFT, AGE], samples, pipeline='e"u'))
    text = (tmp_path / "job.prom").read_text()
    assert "# HELP job_files_total Files.\n# TYPE job_files_total counter\n" in text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["job_files"].samples[0].labels == {"pipeline": 'e"u', "outcome": "done"}
    assert families["job_left_seconds"].samples[0].value == -1.5
    buckets = [
        (sample.labels["le"], sample.value)
        for sample in families["job_age_seconds"].samples
        if sample.name == "job_age_seconds_bucket"
    ]
    assert buckets == [("60.0", 2.0), ("300.0", 2.0), ("+Inf", 3.0)]
    assert "created" not in text


def test_the_exporter_may_read_the_file_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_textfile(tmp_path / "job.prom", exposition([LEFT], {LEFT.name: {(): 1.0}}))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "job.prom").stat().st_mode) == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["job.prom"]


def test_a_file_that_can_not_be_written_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "job.prom"
    target.mkdir()
    with pytest.raises(OSError, match=r"job\.prom"):
        write_textfile(target, exposition([LEFT], {LEFT.name: {(): 1.0}}))
    assert list(tmp_path.iterdir()) == [target]


def test_a_metric_that_nobody_listed_is_a_mistake() -> None:
    with pytest.raises(KeyError, match="job_unheard_of"):
        exposition([LEFT], {"job_unheard_of": {(): 1.0}})


def test_a_histogram_survives_as_json_and_begins_anew_with_other_bounds() -> None:
    seen = Histogram((1.0, 2.0))
    seen.observe(1.5)
    again = Histogram.from_dict((1.0, 2.0), seen.as_dict())
    again.add(seen)
    assert (again.counts, again.total) == ([0, 2, 0], 3.0)
    assert Histogram.from_dict((5.0,), seen.as_dict()).counts == [0, 0]
    assert Histogram.from_dict((5.0,), {}).total == 0.0
