from __future__ import annotations

import pytest

from braze_etl.commands.mapping.compare import nearest


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        ("[Appboy] Email Open", "[Appboy] email open", "upper and lower case"),
        ("card_id", "cardId", "spaces and punctuation"),
        ("[Appboy] Email Open", "[Appboy]Email Open", "spaces and punctuation"),
        ("[Appboy] Email Open", "[Braze] Email Open", "the prefix"),
        ("Email Open", "[Appboy] Email Open", "the prefix"),
        ("SMS Inbound Received", "SMS Inbound Receive", "'Received', which they spell 'Receive'"),
        ("[Appboy] LINE Send", "[Appboy] Send", "the word 'LINE', which they do not have"),
        ("Canvas Conversion", "Canvas Conversion Event", "the word 'Event', which we do not have"),
    ],
)
def test_names_that_are_nearly_the_same_are_told_with_their_difference(
    ours: str, theirs: str, words: str
) -> None:
    assert nearest([ours], [theirs]) == [{"ours": ours, "theirs": theirs, "differs_in": words}]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("[Appboy] Email Open", "[Appboy] Email Click"),
        ("[Appboy] Email Open", "[Appboy] Push Notification Open"),
        ("[Appboy] Purchase", "[Appboy] Location"),
        ("send_id", "campaign_id"),
    ],
)
def test_names_of_different_things_are_not_near(ours: str, theirs: str) -> None:
    assert nearest([ours], [theirs]) == []


def test_of_several_the_nearest_is_told() -> None:
    (near,) = nearest(["[Appboy] Send"], ["[Appboy] LINE Send", "[Braze] Send", "[Appboy] SEND"])
    assert near["theirs"] == "[Appboy] SEND"
