from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braze_etl.errors import ConfigError, StoreError
from braze_etl.mapping.id_cache import IdCache
from braze_etl.mapping.people import Suppression, load_suppression
from braze_etl.storage.settings import StoreAccess
from tests.people import suppressing

SALT = "pepper"


def hashed(id_: str, salt: str = "") -> str:
    return sha256(f"{salt}{id_}".encode()).hexdigest()


def parse(text: str, salt: str = "") -> Suppression:
    return suppressing(text, salt=salt)


def test_an_id_is_covered_to_the_letter() -> None:
    people = parse("anna\nBERT\n")
    assert people.covers("anna")
    assert people.covers("BERT")
    for other in ("Anna", "bert", "ann", "anna ", "annas", ""):
        assert not people.covers(other)


def test_one_id_of_a_record_is_enough_and_what_is_no_text_is_nobody() -> None:
    people = parse("device-1\n12345\n")
    assert people.covers(None, "someone", "device-1")
    assert not people.covers(None, "someone", "device-2")
    assert not people.covers()
    assert not people.covers(12345, b"device-1", ["device-1"], float("nan"), "")


@pytest.mark.parametrize(
    ("text", "people"),
    [
        ("\ufeffanna\r\n\r\n# comment\r\n  bert  \r\n", ["anna", "bert"]),
        ('"anna"\n"a,b"\n"say ""hi"""\n"#1"\n', ["anna", "a,b", 'say "hi"', "#1"]),
        ("müller\n数\n", ["müller", "数"]),
        ("anna", ["anna"]),
        ("", []),
        ("# nobody yet\n", []),
    ],
)
def test_lists_come_as_people_write_them(text: str, people: list[str]) -> None:
    found = parse(text)
    assert all(found.covers(person) for person in people)
    assert not found.covers("", "#", "# comment", "# nobody yet", '"anna"', "anna\r", "\ufeffanna")


@pytest.mark.parametrize("salt", ["", SALT])
@pytest.mark.parametrize("mark", ["", "sha256:"])
@pytest.mark.parametrize("salted", [False, True])
def test_a_hash_covers_its_id_with_the_salt_and_without(salt: str, mark: str, salted: bool) -> None:
    line = mark + hashed("anna", salt if salted else "").upper()
    people = parse(f"{line}\nbert\n", salt)
    assert people.covers("anna")
    assert people.covers("bert")
    assert not people.covers("carl")


def test_a_hash_of_another_salt_covers_nobody() -> None:
    assert not parse(hashed("anna", "other"), SALT).covers("anna")
    assert not parse("anna", SALT).covers(f"{SALT}anna")


def test_an_id_that_is_a_hash_itself_is_covered_too() -> None:
    masked = hashed("anna")
    people = parse(masked)
    assert people.covers("anna")
    assert people.covers(masked)
    assert not parse(f"sha256:{masked}").covers(masked)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("secret,1", "several columns"),
        ('"secret', "no single quoted value"),
        ('"secret",1', "no single quoted value"),
        ('""', "empty id"),
        ("sha256:secret", "64 hex digits"),
        ("secret" * 200, "1,200 characters"),
        ("secret\x00", "no text"),
        ("secret\udcff", "no text in UTF-8"),
    ],
)
def test_what_is_no_entry_is_told_with_its_line_and_without_the_id(line: str, words: str) -> None:
    with pytest.raises(ConfigError, match="line 3 .*" + words) as caught:
        parse(f"anna\n# bert\n{line}\n")
    assert "secret" not in caught.value.message
    assert "nothing is sent" in caught.value.remedy


def test_of_many_mistakes_the_first_are_told() -> None:
    with pytest.raises(ConfigError, match=r"line 5 .*\n.*and 95 more lines"):
        parse("a,b\n" * 100)


@pytest.fixture
def on_disk(tmp_path: Path) -> Callable[[str], Suppression]:
    """Opens a list of that text, whose copy stays."""

    def opened(text: str) -> Suppression:
        (tmp_path / "list.txt").write_text(text)
        cache = IdCache(tmp_path / "cache")
        return load_suppression(str(tmp_path / "list.txt"), StoreAccess(), SALT, cache)

    return opened


def test_of_a_list_little_is_in_memory_and_no_id_on_the_disk(
    tmp_path: Path, on_disk: Callable[[str], Suppression]
) -> None:
    number = 30_000
    text = "".join(f"user-{each}\n" for each in range(number))
    tracemalloc.start()
    try:
        people = on_disk(text)
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 8 * number
    assert most < 1_000_000
    assert people.covers("user-29999")
    (copy,) = (tmp_path / "cache").glob("*.sqlite")
    assert b"user-29999" not in copy.read_bytes()
    assert copy.stat().st_mode & 0o777 == 0o600


def test_a_copy_that_breaks_ends_the_run_instead_of_covering_nobody(
    tmp_path: Path, on_disk: Callable[[str], Suppression]
) -> None:
    people = on_disk("".join(f"user-{each}\n" for each in range(5000)))
    (copy,) = (tmp_path / "cache").glob("*.sqlite")
    copy.write_bytes(copy.read_bytes()[:4096] + b"\xff" * (copy.stat().st_size - 4096))
    with pytest.raises(StoreError, match="can't be read"):
        people.covers("user-4999")


@settings(deadline=None, max_examples=25)
@given(st.sets(st.text(st.characters(min_codepoint=48, max_codepoint=122), min_size=1, max_size=3)))
def test_a_list_covers_those_who_are_on_it_and_nobody_else(ids: set[str]) -> None:
    people = parse("".join(f"{id_}\n" for id_ in ids))
    asked = {*ids, *(f"{id_}{end}" for id_ in [*ids, ""] for end in "0aZ")}
    assert {id_ for id_ in asked if people.covers(id_)} == ids
