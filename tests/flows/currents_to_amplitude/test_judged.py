from __future__ import annotations

import pytest

from braze_etl.flows.currents_to_amplitude.remapped import Judgement, followed_by, judgements_of, renamed
from braze_etl.model import Reason


def test_what_is_not_known_is_no_judgement() -> None:
    assert judgements_of("", None) == ()


@pytest.mark.parametrize(
    ("mapping", "held_from", "expected"),
    [
        ("aa", None, (Judgement("aa"),)),
        ("aa", (0, 0), (Judgement("aa", (0, 0)),)),
        ("aa,bb", (9, 1), (Judgement("aa"), Judgement("bb", (9, 1)))),
        ("aa@120/3,bb", None, (Judgement("aa", (120, 3)), Judgement("bb"))),
        ("aa,bb@120/3", None, (Judgement("aa"), Judgement("bb", (120, 3)))),
    ],
)
def test_what_the_ledger_keeps_is_read(
    mapping: str, held_from: tuple[int, int] | None, expected: tuple[Judgement, ...]
) -> None:
    assert judgements_of(mapping, held_from) == expected


def test_another_mapping_is_added_and_where_the_budget_ended_stays() -> None:
    judged = judgements_of("aa", (120, 3))
    assert followed_by(judged, "bb") == "aa@120/3,bb"
    assert judgements_of(followed_by(judged, "bb"), None)[:-1] == judged


def test_a_mapping_that_judges_alike_takes_the_place_of_another() -> None:
    judged = judgements_of("aa,bb", (7, 1))
    assert renamed(judged, "aa", "cc") == "cc,bb@7/1"
    assert judgements_of("cc,bb@7/1", None) == (Judgement("cc"), Judgement("bb", (7, 1)))


@pytest.mark.parametrize(
    ("reason", "place", "unsent"),
    [
        (None, (10, 4), False),
        (None, (10, 5), True),
        (None, (11, 0), True),
        (Reason.NO_IDENTITY, (0, 0), True),
        (Reason.INVALID_USER_ID, (0, 0), False),
        (Reason.INVALID_USER_ID, (11, 0), False),
    ],
)
def test_unsent_is_what_is_filtered_and_what_the_budget_held(
    reason: Reason | None, place: tuple[int, int], unsent: bool
) -> None:
    assert Judgement("aa", (10, 5)).leaves(place, reason) is unsent
