"""Amplitude's reply protocol (amplitude.md, 1.3) as one pure function from an answer to a decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum

from braze_etl.delivery.decision import (
    Accepted,
    Cause,
    Decision,
    PlainBody,
    Refused,
    RetryAfter,
    Split,
    Stop,
    StopKind,
)
from braze_etl.delivery.named import THROTTLE_SECONDS, named_events
from braze_etl.delivery.reply import Kind, NoReply, Reply
from braze_etl.model import Event

PROJECT_SECONDS = 60.0
"""Amplitude's pause when the whole project is throttled (amplitude.md, 1.2)."""

_PATIENCE = 3
_BAD_REQUEST = 400
_UNSUPPORTED = 415
_REDIRECTS = range(300, 400)
_SERVER_ERRORS = range(500, 600)


class Compression(Enum):
    """How the request was encoded, and whether a compressed one was ever accepted here."""

    OFF = "off"
    UNPROVEN = "unproven"
    PROVEN = "proven"


def decide(
    answer: Reply | NoReply, events: Sequence[Event], compression: Compression = Compression.OFF
) -> Decision:
    """What is to be done about *answer*, which a request with *events* got."""
    if isinstance(answer, NoReply):
        return _without_reply(answer)
    if _says_invalid_key(answer):
        return _INVALID_KEY
    meaning = answer.meaning
    if meaning in _REDIRECTS:
        return _elsewhere(answer)
    if meaning in _SERVER_ERRORS:
        return RetryAfter(answer.words, Cause.FAILURE, answer.retry_after)
    rule = _RULES.get(meaning)
    return rule(answer, events, compression) if rule else _refused(answer, events, compression)


def _accepted(reply: Reply, _events: Sequence[Event], _compression: Compression) -> Decision:
    ingested = (reply.body or {}).get("events_ingested")
    return Accepted(ingested if type(ingested) is int else None)


def _bad_request(reply: Reply, events: Sequence[Event], compression: Compression) -> Decision:
    missing = (reply.body or {}).get("missing_field")
    if missing:
        return Stop(
            StopKind.REQUEST,
            f"Amplitude misses `{missing}` in the request.",
            "Something between here and Amplitude changes requests: check `amplitude.endpoint` and proxies.",
        )
    if "invalid request path" in reply.error.lower():
        return _elsewhere(reply)
    return named_events(reply, events) or _refused(reply, events, compression)


def _throttled(reply: Reply, events: Sequence[Event], _compression: Compression) -> Decision:
    named = named_events(reply, events)
    if named:
        return named
    usual = PROJECT_SECONDS if "project" in reply.error.lower() else THROTTLE_SECONDS
    seconds = usual if reply.retry_after is None else reply.retry_after
    return RetryAfter(reply.words, Cause.THROTTLED, seconds)


def _too_large(reply: Reply, _events: Sequence[Event], _compression: Compression) -> Decision:
    return Split(reply.words, reply.own_words)


def _timed_out(reply: Reply, _events: Sequence[Event], _compression: Compression) -> Decision:
    return RetryAfter(reply.words, Cause.FAILURE, reply.retry_after)


def _unauthorized(reply: Reply, _events: Sequence[Event], _compression: Compression) -> Decision:
    return Stop(
        StopKind.KEY,
        f"The request was not authorized ({reply.words}).",
        "Check `amplitude.api_key`, `amplitude.endpoint` and the credentials of the proxy.",
    )


def _not_here(reply: Reply, _events: Sequence[Event], _compression: Compression) -> Decision:
    return _elsewhere(reply)


def _refused(reply: Reply, _events: Sequence[Event], compression: Compression) -> Decision:
    if compression is not Compression.OFF and _blames_encoding(reply, compression):
        return PlainBody(reply.words)
    return Refused(reply.words, reply.own_words, reply.status)


_RULES: dict[int, Callable[[Reply, Sequence[Event], Compression], Decision]] = {
    200: _accepted,
    400: _bad_request,
    401: _unauthorized,
    404: _not_here,
    405: _not_here,
    407: _unauthorized,
    408: _timed_out,
    410: _not_here,
    413: _too_large,
    429: _throttled,
}

_INVALID_KEY = Stop(
    StopKind.KEY,
    "Amplitude refused the API key.",
    "Check `amplitude.api_key`, and `amplitude.region`: the key works only in its project's region.",
)


def _says_invalid_key(reply: Reply) -> bool:
    # As the SDKs do: anywhere in the text, in any case. A success may quote anything.
    return reply.meaning in (400, 401, 403) and "invalid api key" in (reply.error or reply.text).lower()


def _blames_encoding(reply: Reply, compression: Compression) -> bool:
    """Whether a refusal may be about gzip: it says so, or nothing compressed ever got through here."""
    said = (reply.error or reply.text).lower()
    if reply.meaning == _UNSUPPORTED or any(word in said for word in ("encoding", "gzip", "compress")):
        return True
    unread = not reply.own_words or "request body" in said
    return compression is Compression.UNPROVEN and reply.meaning == _BAD_REQUEST and unread


def _elsewhere(reply: Reply) -> Stop:
    target = f", and points to {reply.location.partition('?')[0]}" if reply.location else ""
    return Stop(
        StopKind.ENDPOINT,
        f"There is no ingestion endpoint at this URL ({reply.words}{target}).",
        "Check `amplitude.region` and `amplitude.endpoint`; redirects are not followed.",
        patience=_PATIENCE,
    )


def _without_reply(answer: NoReply) -> Decision:
    if answer.kind is Kind.TLS:
        return Stop(
            StopKind.ENDPOINT,
            answer.words,
            "If a proxy signs with its own CA, name its bundle in REQUESTS_CA_BUNDLE.",
            patience=_PATIENCE,
        )
    if answer.kind is Kind.URL:
        return Stop(StopKind.ENDPOINT, answer.words, "Check `amplitude.endpoint`.")
    return RetryAfter(answer.words, Cause.FAILURE, overload=answer.kind is not Kind.DNS)
