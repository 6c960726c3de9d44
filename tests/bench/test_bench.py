"""The benchmark itself, with few events: it measures, it proves, and it notices what is missing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.bench import page
from tests.bench.aims import Aim, aims_of_shape
from tests.bench.bench import compete
from tests.bench.contenders import DECODE, DLT, NAIVE, ONE, SDK, TWO, all_contenders
from tests.bench.delivery import Contender, Export, deliver, make_export
from tests.bench.figures import Series
from tests.bench.peers.mapping import events_of
from tests.bench.process import BenchError, run
from tests.bench.scenarios import Scale

EVENTS = 1000


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    return make_export(tmp_path_factory.mktemp("bench") / "opens", EVENTS, 250)


@pytest.fixture
def naive() -> Contender:
    return next(each for each in all_contenders(Path(sys.executable)) if each.name == NAIVE)


def test_a_round_without_the_peers_environment_gives_a_table_and_ratios(tmp_path: Path) -> None:
    contenders = all_contenders(Path(sys.executable), frozenset({DECODE, SDK, DLT}))
    said: list[str] = []
    opens, custom = compete(tmp_path, contenders, Scale(EVENTS, 1), said.append)
    assert len(said) == 2 * len(contenders)
    table = page.contest(opens.shape, EVENTS, opens.by_name)
    assert [row[0] for row in table.rows] == [contender.name for contender in contenders]
    assert table.rows[0][4] == "1.00"
    assert opens.by_name[ONE].peak > 20
    assert 0 < custom.by_name[TWO].of(lambda each: each.first).middle < custom.by_name[TWO].wall.middle
    whats = [aim.what for aim in aims_of_shape("custom", custom.by_name)]
    assert "custom: 1 worker / naive, CPU" in whats
    assert not any("dlt" in what for what in whats)


def without_the_last_file(contender: Contender) -> Contender:
    def command(place: Path, export: Export, url: str) -> Sequence[str]:
        partial = place / "partial"
        partial.mkdir()
        for path in sorted(export.folder.rglob("*.avro"))[:-1]:
            (partial / path.name).symlink_to(path)
        return contender.command(place, Export(partial, export.events, export.ids), url)

    return Contender(contender.name, command)


def twice(contender: Contender) -> Contender:
    def command(place: Path, export: Export, url: str) -> Sequence[str]:
        words = " ".join(contender.command(place, export, url))
        return ["sh", "-c", f"{words} && {words}"]

    return Contender(contender.name, command)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_the_last_file, r"of 1,000 events 250 are missing"),
        (twice, r"0 are missing .* 1,000 too many"),
    ],
)
def test_what_is_missing_or_too_much_is_noticed(
    export: Export, naive: Contender, spoil: Callable[[Contender], Contender], words: str
) -> None:
    with pytest.raises(BenchError, match=words):
        deliver(spoil(naive), export)


def test_a_contender_that_fails_is_shown_with_its_last_words(export: Export) -> None:
    failing = Contender("failing", lambda *_: [sys.executable, "-c", "raise SystemExit('no such thing')"])
    with pytest.raises(BenchError, match=r"exit code 1:\nno such thing"):
        deliver(failing, export)


def test_a_command_keeps_its_compiled_modules_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    words = "import sys; sys.exit(sys.dont_write_bytecode or not sys.pycache_prefix)"
    assert run([sys.executable, "-c", words], cwd=tmp_path).wall > 0


def test_decoding_alone_owes_no_delivery(export: Export) -> None:
    decode = next(each for each in all_contenders(Path(sys.executable)) if each.name == DECODE)
    assert deliver(decode, export).rate > 0


def test_an_answer_after_a_latency_takes_that_long(export: Export, naive: Contender) -> None:
    delivery = deliver(naive, export, latency=0.3)
    assert delivery.ran.wall >= 0.3
    assert delivery.most_at_once == 1


@pytest.mark.parametrize("shape", ["opens", "custom"])
def test_the_peers_mapping_is_that_of_the_program(
    tmp_path: Path, shape: str, preview: Callable[[Path], list[object]]
) -> None:
    written = make_export(tmp_path / shape, 200, 200, shape=shape)
    (path,) = written.folder.rglob("*.avro")
    assert list(events_of(path)) == preview(path)


def test_a_series_is_shown_as_its_median_and_its_spread() -> None:
    assert Series((3.0, 1.0, 2.0)).text() == "2.00 (1.00-3.00)"
    assert Series((1234.5,)).text(0) == "1,234"


def test_an_aim_says_by_how_much_it_was_missed() -> None:
    assert Aim("ratio", 2.0, 2.1).verdict == "reached"
    assert Aim("ratio", 2.0, 1.5).verdict == "missed by 25%"
    assert Aim("memory", 130, 143, "MB", at_most=True).verdict == "missed by 10%"
    assert Aim("memory", 130, 83, "MB", at_most=True).reached
