from __future__ import annotations

import pytest

from braze_etl.amplitude.probe import probe
from braze_etl.clock import ManualClock
from braze_etl.delivery.batches import RequestCounts
from braze_etl.delivery.destination import Standing
from braze_etl.delivery.http import Kind, NoReply, Reply
from tests.delivery.conftest import KEY, NOON, Answer, Wire, html, ok, reply, reset, settings


@pytest.mark.parametrize(
    ("answer", "standing"),
    [
        (ok(0), Standing.FINE),
        (reply(400, error="Request missing required field", missing_field="events"), Standing.FINE),
        (reply(400, error="Invalid JSON request body"), Standing.FINE),
        (reply(400, error="Invalid API key: abc"), Standing.REFUSED),
        (Reply(401), Standing.REFUSED),
        (html(404), Standing.REFUSED),
        (Reply(302), Standing.REFUSED),
        (NoReply(Kind.TLS, "unverified"), Standing.REFUSED),
        (html(400), Standing.UNCLEAR),
        (reply(403, error="Forbidden"), Standing.UNCLEAR),
        (reply(429), Standing.UNCLEAR),
        (Reply(500), Standing.UNCLEAR),
        (reset(), Standing.UNCLEAR),
    ],
)
def test_a_probe_reads_what_the_answer_says_of_key_and_endpoint(answer: Answer, standing: Standing) -> None:
    finding = probe(Wire(lambda _events: answer, ManualClock(NOON)), settings())
    assert finding.standing is standing
    assert bool(finding.remedy) is (standing is Standing.REFUSED)
    assert bool(finding.words) is (standing is not Standing.FINE)
    failed = standing is not Standing.FINE and getattr(answer, "status", 0) != 429
    assert RequestCounts.of_probe(finding).failed == failed


@pytest.mark.parametrize(
    ("answer", "refused"),
    [(reply(400, error="Invalid API key: abc"), True), (Reply(401), True), (html(404), False)],
)
def test_a_probe_tells_a_refused_key_from_a_wrong_address(answer: Answer, refused: bool) -> None:
    finding = probe(Wire(lambda _events: answer, ManualClock(NOON)), settings())
    assert finding.key_refused is refused


def test_a_probe_sends_the_key_and_no_event() -> None:
    wire = Wire(lambda _events: ok(0), ManualClock(NOON))
    probe(wire, settings())
    assert wire.bodies == [{"api_key": KEY, "events": []}]
