"""Fault scripts from YAML, and the words for what is wrong in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from braze_etl.sandbox.faults import (
    Action,
    Answer,
    Fault,
    FaultFileError,
    Faults,
    Hang,
    IngestThen,
    Proceed,
    Redirect,
    RefuseGzip,
    RequestFacts,
    Reset,
    TruncateReply,
    load_faults,
    parse_faults,
)


def first(faults: Faults) -> Fault | None:
    events = [{"event_type": "opened", "user_id": "user-1", "insert_id": "a"}]
    return faults.next(RequestFacts("/batch", gzip=True, read_events=lambda: events))


@pytest.mark.parametrize(
    ("do", "action"),
    [
        ("{reply: {status: 503}}", Answer(503)),
        ("{reply: {status: 502, body: <html>}}", Answer(502, {}, "<html>")),
        ("{reply: {status: 429, headers: {Retry-After: 7}}}", Answer(429, {"Retry-After": "7"})),
        ("{reply: {body: {code: 429}}}", Answer(200, {}, {"code": 429})),
        ("{reset: before_body}", Reset("before_body")),
        ("{reset: during_reply}", Reset("during_reply")),
        ("{redirect: 'http://127.0.0.1:1/'}", Redirect("http://127.0.0.1:1/")),
        ("{truncate_reply: true}", TruncateReply()),
        ("{refuse_gzip: true}", RefuseGzip()),
        ("{hang: 2}", Hang(2.0)),
        ("{ingest_then: {reset: after_body}}", IngestThen(Reset("after_body"))),
        ("{ingest_then: {reply: {status: 500}}}", IngestThen(Answer(500))),
        ("{delay: 0.5}", Proceed()),
    ],
)
def test_every_action_can_be_written(do: str, action: Action) -> None:
    fault = first(parse_faults(f"- do: {do}"))
    assert fault is not None
    assert fault.action == action


def test_a_delay_may_stand_beside_an_action() -> None:
    assert first(parse_faults("- do: {delay: 0.5, hang: 1}")) == Fault(Hang(1.0), 0.5)


def test_every_condition_can_be_written() -> None:
    when = "request: 1, every: 1, first: 1, after: 0, path: /batch, share: 1, seed: 3"
    inside = "event_type: open*, user_id: user-1, insert_id: a"
    faults = parse_faults(f"- {{when: {{{when}, {inside}}}, do: {{hang: 1}}, times: 1}}")
    assert first(faults) == Fault(Hang(1.0))
    assert first(faults) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- do: {replay: {}}", "faults, rule 1, do: unknown key 'replay'; did you mean 'reply'?"),
        (
            "- do: {hang: 1}\n- do: {hang: 1}\n  whn: {}",
            "faults, rule 2: unknown key 'whn'; did you mean 'when'?",
        ),
        ("- do: {hang: 1}\n  colour: red", "faults, rule 1: unknown key 'colour'; known: when, do, times"),
        (
            "- {when: {evry: 2}, do: {hang: 1}}",
            "faults, rule 1, when: unknown key 'evry'; did you mean 'every'?",
        ),
        (
            "- {when: {every: 0}, do: {hang: 1}}",
            "faults, rule 1, when, every: must be a whole number of at least 1, not 0",
        ),
        (
            "- {when: {share: 10}, do: {hang: 1}}",
            "faults, rule 1, when, share: must be a number, from 0 to 1, not 10",
        ),
        (
            "- {when: {user_id: 7}, do: {hang: 1}}",
            "faults, rule 1, when, user_id: must be a text, not 7; quote numbers",
        ),
        ("- {when: {}}", "faults, rule 1: says nothing to `do`"),
        (
            "- {do: {hang: 1}, times: many}",
            "faults, rule 1, times: must be a whole number of at least 1, not 'many'",
        ),
        (
            "- do: {hang: soon}",
            "faults, rule 1, do, hang: must be a number, not negative, not 'soon'",
        ),
        (
            "- do: {reset: sometimes}",
            "faults, rule 1, do, reset: must be before_body, after_body or during_reply, not 'sometimes'",
        ),
        (
            "- do: {ingest_then: {reset: before_body}}",
            (
                "faults, rule 1, do, ingest_then: nothing can be ingested before the body;"
                " use after_body or during_reply"
            ),
        ),
        (
            "- {when: {user_id: a}, do: {reset: before_body}}",
            "faults, rule 1: reset: before_body cannot depend on an event, which is in the body",
        ),
        ("- do: {truncate_reply: 1}", "faults, rule 1, do, truncate_reply: must be true, not 1"),
        ("- 7", "faults, rule 1: must be a mapping with when, do, times"),
        ("rules: []", "faults must be a list of rules, each with `do` and where wanted `when` and `times`"),
    ],
)
def test_a_mistake_is_one_sentence_with_the_rule_and_the_key(text: str, words: str) -> None:
    with pytest.raises(FaultFileError) as caught:
        parse_faults(text)
    assert str(caught.value) == words


@pytest.mark.parametrize("do", ["{}", "{hang: 1, redirect: x}"])
def test_a_rule_does_exactly_one_thing(do: str) -> None:
    with pytest.raises(
        FaultFileError, match=r"rule 1, do: must hold one of reply, reset, .*, or delay alone"
    ):
        parse_faults(f"- do: {do}")


def test_what_is_no_yaml_is_said_in_one_line() -> None:
    with pytest.raises(FaultFileError, match=r"^faults is not YAML: [^\n]*line 1") as caught:
        parse_faults("- {")
    assert "\n" not in str(caught.value)


def test_a_file_is_named_in_its_errors(tmp_path: Path) -> None:
    path = tmp_path / "script.yaml"
    with pytest.raises(FaultFileError, match=r"script\.yaml cannot be read: .*No such file"):
        load_faults(path)
    path.write_text("- do: {hang: -1}", encoding="utf-8")
    with pytest.raises(FaultFileError, match=r"script\.yaml, rule 1, do, hang"):
        load_faults(path)
