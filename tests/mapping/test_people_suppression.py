from __future__ import annotations

import pickle
import tracemalloc
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braze_etl.errors import ConfigError
from braze_etl.mapping.people import SIZE, DigestSet, Suppression

SALT = "pepper"


def hashed(id_: str, salt: str = "") -> str:
    return sha256(f"{salt}{id_}".encode()).hexdigest()


def parse(text: str, salt: str = "") -> Suppression:
    return Suppression.parse(text.splitlines(keepends=True), salt)


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
    assert len(found) == len(people)
    assert all(found.covers(person) for person in people)


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
    assert len(people) == 1
    assert not parse(f"sha256:{masked}").covers(masked)


def test_an_id_that_is_listed_twice_is_one() -> None:
    assert len(parse(f"anna\nanna\n'x'\nsha256:{hashed('anna')}\n")) == 2


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
        (b"secret\xff".decode(errors="surrogateescape"), "no text in UTF-8"),
    ],
)
def test_what_is_no_entry_is_told_with_its_line_and_without_the_id(line: str, words: str) -> None:
    with pytest.raises(ConfigError, match="line 3 .*" + words) as caught:
        Suppression.parse(["anna\n", "# bert\n", f"{line}\n"])
    assert "secret" not in caught.value.message
    assert "nothing is sent" in caught.value.remedy


def test_of_many_mistakes_the_first_are_told() -> None:
    with pytest.raises(ConfigError, match=r"line 5 .*\n.*and 95 more lines"):
        Suppression.parse(["a,b\n"] * 100)


def test_the_digest_tells_lists_apart_whatever_their_order() -> None:
    assert parse("anna\nbert").digest == parse("bert\n# x\nanna\nanna").digest
    assert parse("anna").digest != parse("bert").digest
    assert parse("anna").digest not in (hashed("anna")[:16], "anna")


def test_a_list_travels_to_another_process() -> None:
    people = pickle.loads(pickle.dumps(parse(f"anna\n{hashed('bert', SALT)}\n", SALT)))
    assert people.covers("anna")
    assert people.covers("bert")


def test_an_id_takes_16_bytes_and_less_than_100_while_the_list_is_read() -> None:
    number = 30_000
    tracemalloc.start()
    try:
        people = Suppression.parse(f"user-{each}\n" for each in range(number))
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    indexes = 1_200_000
    assert kept < 20 * number + indexes
    assert most < 100 * number + 5 * indexes  # there are lists of their size while they are made
    assert len(people) == number
    assert people.covers("user-29999")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.binary(min_size=SIZE, max_size=SIZE)), st.binary(min_size=SIZE, max_size=SIZE))
def test_a_set_of_digests_is_a_set(digests: list[bytes], other: bytes) -> None:
    found = DigestSet(b"".join(digests))
    assert all(digest in found for digest in digests)
    assert (other in found) == (other in set(digests))
    assert len(found) == len(set(digests))


def test_what_lies_across_two_digests_is_no_member() -> None:
    first, second = b"ab" + b"x" * 14, b"ab" + b"y" * 14
    across = (first + second)[8:24]
    repeating = b"ab" * 8
    assert across not in DigestSet(first + second)
    assert repeating in DigestSet(b"ab" * 7 + b"aa" + repeating + b"ab" * 7 + b"ac")
    assert b"ab" * 7 + b"ad" not in DigestSet(repeating)
