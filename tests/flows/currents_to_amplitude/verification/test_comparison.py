"""Two sides on disk, compared piece by piece: the same counts as over all of it at once."""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braze_etl.flows.currents_to_amplitude.verification import comparison
from braze_etl.flows.currents_to_amplitude.verification.comparison import (
    Comparison,
    Cutter,
    Expected,
    Missing,
    Result,
    Tally,
)

OPEN, CLICK = "users.messages.email.Open", "users.messages.email.Click"
SETTLED = 1000.0


def expected(insert_id: str, file: int, record: int = 0, *, person: int = 1, quarter: int = 0) -> Expected:
    return Expected(insert_id, file, 100, record, quarter, person)


def compared(
    files: list[tuple[str, float]], sent: list[Expected], held: list[tuple[str, str]], *taken_back: int
) -> tuple[Result, list[Missing]]:
    """Compare; each event has the name of its file's type, in brackets."""
    with Comparison() as comparison:
        for event_type, at in files:
            comparison.add_file(event_type, at)
        cutter = Cutter()
        for row in sent:
            cutter.add(row.insert_id, f"[{files[row.file][0]}]", tuple(row))
        comparison.expect(cutter.take())
        for file in taken_back:
            comparison.take_back(file)
        comparison.hold(held)
        return comparison.compare(SETTLED), list(comparison.missing())


ids = st.text(alphabet="abcdefä-", min_size=1, max_size=2)
sides = st.tuples(
    st.lists(st.tuples(ids, st.integers(0, 3))), st.lists(st.tuples(ids, st.sampled_from(["Braze", "http"])))
)


@settings(deadline=None, max_examples=50)
@given(sides)
def test_it_counts_as_one_would_with_all_of_it_in_memory(
    sides: tuple[list[tuple[str, int]], list[tuple[str, str]]],
) -> None:
    sent, held = sides
    files = [(OPEN, 1.0), (CLICK, 2.0), (OPEN, SETTLED + 1), (CLICK, 3.0)]
    rows = [expected(insert_id, file, record) for record, (insert_id, file) in enumerate(sent)]
    result, missing = compared(files, rows, held, 3)

    first: dict[str, Expected] = {}
    for row in sorted(rows, key=lambda row: (row.file, row.record)):
        if row.file != 3:
            first.setdefault(row.insert_id, row)
    times = Counter(insert_id for insert_id, _ in held)
    judged = [row for row in first.values() if row.file != 2]
    gone = [row for row in judged if not times[row.insert_id]]
    total = result.total
    assert total.expected == len(first) == total.present + total.missing + total.too_early
    assert total.repeated == sum(times[row.insert_id] - 1 for row in judged if times[row.insert_id])
    assert total.too_early == len(first) - len(judged)
    assert sorted((each.insert_id, each.file, each.record) for each in missing) == sorted(
        (row.insert_id, row.file, row.record) for row in gone
    )
    assert [each.file for each in missing] == sorted(each.file for each in missing)
    assert result.foreign == Counter(library for insert_id, library in held if insert_id not in first)
    assert result.duplicates == sum(row.file != 3 for row in rows) - len(first)
    for event_type in (OPEN, CLICK):
        of_type = {row.insert_id for row in first.values() if files[row.file][0] == event_type}
        assert result.tallies[event_type, f"[{event_type}]"].expected == len(of_type)


def test_persons_of_whom_nothing_is_there_are_counted() -> None:
    rows = [expected(f"{person}-{n}", 0, n, person=person) for person in (1, 2, 3) for n in range(4)]
    rows.append(expected("4-0", 0, person=4))
    held = [(f"{person}-{n}", "Braze") for person in (2, 3) for n in range(person - 1)]
    result, _ = compared([(OPEN, 1.0)], rows, held)
    assert (result.persons, result.of_persons) == (1, 4), "one event alone is no sign"


def test_with_very_many_missing_persons_none_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "_PERSONS", 1)
    rows = [expected(f"{person}-{n}", 0, n, person=person) for person in (1, 2) for n in range(4)]
    result, missing = compared([(OPEN, 1.0)], rows, [])
    assert (result.persons, len(missing)) == (0, 8)


def test_what_is_expected_is_counted_by_day_where_nothing_is_held_against_it() -> None:
    with Comparison(lambda quarter: f"day {quarter // 96}") as comparison:
        comparison.add_file(OPEN, 1.0)
        cutter = Cutter()
        for number, quarter in enumerate((0, 95, 96)):
            cutter.add(str(number), "[Open]", (str(number), 0, 100, number, quarter, 1))
        comparison.expect(cutter.take())
        assert comparison.compare(SETTLED).days == {("[Open]", "day 0"): 2, ("[Open]", "day 1"): 1}


def test_nobody_else_reads_the_pieces_and_they_go_whatever_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def broken() -> Iterator[tuple[str, str]]:
        yield "a", "Braze"
        raise OSError("cut")

    with Comparison() as comparison:
        comparison.hold([("a", "Braze")])
        (folder,) = tmp_path.iterdir()
        assert [stat.S_IMODE(each.stat().st_mode) for each in (folder, *folder.iterdir())] == [0o700, 0o600]
    with pytest.raises(OSError, match="cut"), Comparison() as comparison:
        comparison.hold(broken())
    assert list(tmp_path.iterdir()) == []


def test_tallies_add_up() -> None:
    tally = Tally(1, 1, repeated=2)
    tally.add(Tally(3, 1, 1, 0, 1))
    assert tally == Tally(4, 2, 1, 2, 1)
