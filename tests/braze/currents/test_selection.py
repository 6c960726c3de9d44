from __future__ import annotations

import pytest

from braze_etl.braze.currents.listing import Selection


@pytest.mark.parametrize(
    ("globs", "selected"),
    [
        (("*",), {"email.Open", "email.Send", "canvas.Entry"}),
        (("email.*",), {"email.Open", "email.Send"}),
        (("email.*", "!*.Send"), {"email.Open"}),
        (("!*.Send", "*"), {"email.Open", "canvas.Entry"}),
        (("!email.*",), {"canvas.Entry"}),
        (("email.open",), set()),
        ((), set()),
    ],
)
def test_globs_select_and_excludes_win(globs: tuple[str, ...], selected: set[str]) -> None:
    selection = Selection(event_types=globs)
    names = ("email.Open", "email.Send", "canvas.Entry")
    assert {name for name in names if selection.matches_event_type(name)} == selected


def test_a_command_narrows_what_the_configuration_selects() -> None:
    selection = Selection(event_types=("email.*",), narrowed_to=("*.Open", "canvas.*"))
    assert selection.matches_event_type("email.Open")
    assert not selection.matches_event_type("email.Send")
    assert not selection.matches_event_type("canvas.Entry")


def test_integrations_are_selected_by_id() -> None:
    selection = Selection(integrations=("69*", "!69ff*"))
    assert selection.matches_integration("69ca")
    assert not selection.matches_integration("69ff")
    assert not selection.matches_integration("70ca")
