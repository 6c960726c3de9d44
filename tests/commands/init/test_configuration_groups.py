from __future__ import annotations

import pytest

from braze_etl.commands.init.configuration import Group, group_of
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection

MAPPING = EventMapping.load(MappingSection())


@pytest.mark.parametrize(
    ("event_type", "group"),
    [
        ("users.messages.email.Open", Group.OUTCOMES),
        ("users.messages.email.Unsubscribe", Group.OUTCOMES),
        ("users.messages.pushnotification.Bounce", Group.OUTCOMES),
        ("users.messages.sms.InboundReceive", Group.OUTCOMES),
        ("users.campaigns.Conversion", Group.OUTCOMES),
        ("users.canvas.experimentstep.Conversion", Group.OUTCOMES),
        ("users.behaviors.subscription.GlobalStateChange", Group.OUTCOMES),
        ("users.messages.email.Send", Group.SENDS),
        ("users.messages.sms.CarrierSend", Group.SENDS),
        ("users.messages.email.Delivery", Group.SENDS),
        ("users.messages.line.Abort", Group.SENDS),
        ("users.canvas.Entry", Group.STEPS),
        ("users.campaigns.EnrollInControl", Group.STEPS),
        ("users.behaviors.CustomEvent", Group.BEHAVIOR),
        ("users.behaviors.app.SessionStart", Group.BEHAVIOR),
        ("users.behaviors.pushnotification.TokenStateChange", Group.BEHAVIOR),
        ("users.profile.Update", Group.OTHERS),
        ("agentconsole.AgentExecuted", Group.OTHERS),
        ("users.messages.pigeon.Coo", Group.UNKNOWN),
    ],
)
def test_outcomes_are_chosen_and_all_else_has_a_group(event_type: str, group: Group) -> None:
    assert group_of(event_type, MAPPING) is group


def test_no_type_of_the_behavior_group_is_chosen() -> None:
    chosen = [name for name in MAPPING.event_types if group_of(name, MAPPING) is Group.OUTCOMES]
    assert {name for name in chosen if name.startswith("users.behaviors.")} == {
        "users.behaviors.Uninstall",
        "users.behaviors.subscription.GlobalStateChange",
        "users.behaviors.subscriptiongroup.StateChange",
    }
    assert not [name for name in chosen if name.endswith((".Send", ".Delivery", ".Abort", ".Retry"))]
