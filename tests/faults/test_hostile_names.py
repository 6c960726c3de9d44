"""Names and values that would move a terminal's cursor, forge a line or turn the order of letters."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.generate import sample_record, write_avro
from tests.workplace import KEY, Workplace

HOSTILE = "users.\x1b[2J\x9b1A\u202e[bold]\u2066\nexit 0: everything due was delivered"
SHOWN = r"\x1b[2J\x9b1A\u202e[bold]\u2066\nexit 0"
COMMANDS = (
    ("plan",),
    ("run", "--log-format", "text", "--log-level", "debug"),
    ("run", "--log-format", "json", "--log-level", "debug", "--output", "json"),
    ("status",),
    ("status", "--output", "json"),
    ("quarantine", "list"),
    ("doctor",),
    ("init", "--source", "export", "-o", "new.yaml"),
)


@pytest.fixture
def hostile(place: Workplace) -> Workplace:
    """A source whose first folder has a name made to deceive, with a file in it that can't be read."""
    place.export(events=120, hours=1)
    folder = next(place.source.rglob("event_type=*"))
    folder = folder.rename(folder.with_name(f"event_type={HOSTILE}"))
    next(folder.rglob("*.avro")).write_bytes(b"no Avro")
    place.configure(pipeline="p\u202e\x1b[2J", amplitude={"api_key": KEY}, metrics={"textfile": "m.prom"})
    return place


def only_lines(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


def test_every_command_shows_what_can_not_be_seen(hostile: Workplace) -> None:
    results = {words: hostile.do(*words) for words in COMMANDS}
    for words, result in results.items():
        assert result.code in (0, 1, 3, 5), (words, result)
        assert only_lines(result.out), (words, result.out)
        assert only_lines(result.err), (words, result.err)
        assert "\nexit 0: everything due" not in result.out, result.out
    assert SHOWN in results["plan",].out
    assert SHOWN in results["quarantine", "list"].out
    shown = [words for words, result in results.items() if SHOWN in result.out + result.err]
    assert len(shown) >= 5, shown
    assert only_lines((hostile.folder / "m.prom").read_text())
    assert hostile.do("config", "check", "-c", "new.yaml").code == 0
    assert (hostile.folder / "new.yaml").read_bytes().isascii()


def test_a_page_shows_them_too(hostile: Workplace) -> None:
    hostile.do("run")
    assert hostile.do("report", "-o", "page.html").code == 0
    page = Path(hostile.folder, "page.html").read_text()
    assert r"\u202e" in page
    assert not {"\x1b", "\x9b", "\u202e", "\u2066"} & set(page.partition("<script")[0])


def test_a_value_is_shown_beside_its_event(place: Workplace) -> None:
    kind, file = "users.behaviors.CustomEvent", place.folder / "hostile.avro"
    write_avro(file, kind, [{**sample_record(kind), "name": HOSTILE}])
    for form in ("text", "json"):
        shown = place.do("preview", str(file), "--output", form)
        assert only_lines(shown.out)
        assert r"\u202e" in shown.out
