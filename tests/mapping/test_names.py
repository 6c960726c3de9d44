from __future__ import annotations

import pytest

from braze_etl.mapping.names import TitleRules
from braze_etl.mapping.presets import load_preset


@pytest.fixture(scope="module")
def rules() -> TitleRules:
    return load_preset("native").titles


@pytest.mark.parametrize(
    ("event_type", "title"),
    [
        ("users.messages.kakao.Send", "Kakao Send"),
        ("users.messages.sms.ShortLinkClick", "SMS Short Link Click"),
        ("users.messages.whatsapp.InboundReceive", "WhatsApp Inbound Receive"),
        ("users.messages.line.Retry", "LINE Retry"),
        ("users.messages.rcs.Read", "RCS Read"),
        ("users.messages.pushnotification.IosForeground", "Push Notification iOS Foreground"),
        ("users.messages.inappmessage.Abort", "In-App Message Abort"),
        ("users.messages.contentcard.Pin", "Content Card Pin"),
        ("users.messages.landingpage.FormSubmission", "Landing Page Form Submission"),
        ("users.messages.featureflag.Impression", "Feature Flag Impression"),
        ("users.messages.newsfeedcard.Click", "News Feed Card Click"),
        ("users.behaviors.liveactivity.End", "Live Activity End"),
        ("users.behaviors.subscriptiongroup.Merge", "Subscription Group Merge"),
        ("users.behaviors.app.NewsFeedImpression", "News Feed Impression"),
        ("users.campaigns.Abort", "Campaign Abort"),
        ("users.canvas.costep.Conversion", "Canvas Costep Conversion"),
        ("users.canvasstep.Exit", "Canvas Step Exit"),
        ("agentconsole.ToolInvocation", "Tool Invocation"),
    ],
)
def test_a_title_follows_from_the_dotted_name(rules: TitleRules, event_type: str, title: str) -> None:
    assert rules.title(event_type) == title


@pytest.mark.parametrize(
    ("event_type", "title"),
    [
        ("users.messages.email.click", "Email Click"),
        ("users.messages.email.AMPOpen", "Email AMP Open"),
        ("users.messages.email.Open2", "Email Open 2"),
        ("users.messages.email.hard_bounce", "Email Hard Bounce"),
        ("users.messages.größe.Änderung", "Größe Änderung"),
        ("users.messages", "users.messages"),
        ("users..Thing", "Thing"),
        ("users.---", "---"),
    ],
)
def test_odd_names_still_give_a_title(rules: TitleRules, event_type: str, title: str) -> None:
    assert rules.title(event_type) == title
