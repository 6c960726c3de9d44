"""What HTTP's statuses, and no reply at all, say of a request whoever the service is.

A service's `decide` comes first, for what its own words say more.
"""

from __future__ import annotations

from braze_etl.delivery.destination import (
    Body,
    Cause,
    Decision,
    Names,
    Refused,
    RetryAfter,
    Split,
    Stop,
    StopKind,
    Uncompressed,
)
from braze_etl.delivery.http import Kind, NoReply, Reply

BAD_REQUEST = 400
THROTTLED = 429
_PATIENCE = 3
_UNAUTHORIZED = (401, 407)
_ELSEWHERE = (*range(300, 400), 404, 405, 410)
_TIMED_OUT = 408
_TOO_LARGE = 413
_UNSUPPORTED = 415
_SERVER_ERRORS = range(500, 600)
_OF_ENCODING = ("encoding", "gzip", "compress")


def by_status(status: int, reply: Reply, body: Body, names: Names, *, own_words: bool) -> Decision:
    """What *status* says of *body*; it is that of *reply*, or what the service wrote in its place.

    `own_words`: the reply has the form of the service's own refusals, and so is not a proxy's.
    """
    if status in _ELSEWHERE:
        return elsewhere(reply, names)
    if status in _SERVER_ERRORS or status == _TIMED_OUT:
        return RetryAfter(reply.words, Cause.FAILURE, reply.retry_after)
    if status in _UNAUTHORIZED:
        return Stop(
            StopKind.KEY,
            f"The request was not authorized ({reply.words}).",
            f"Check {names.key}, {names.endpoint} and the credentials of the proxy.",
        )
    if status == _TOO_LARGE:
        return Split(reply.words, own_words)
    if status == THROTTLED:
        return RetryAfter(reply.words, Cause.THROTTLED, reply.retry_after)
    return refusal(status, reply, body, own_words=own_words)


def refusal(
    status: int, reply: Reply, body: Body, *, own_words: bool, unread: bool = False
) -> Refused | Uncompressed:
    """A refusal that names no item. It is about gzip where it says so, and may be where nobody read the body.

    `unread`: the service's own words say that it could not read it.
    """
    refused = Refused(reply.words, own_words, reply.status)
    if not body.gzip:
        return refused
    said = (reply.error or reply.text).lower()
    if status == _UNSUPPORTED or any(word in said for word in _OF_ENCODING):
        return Uncompressed(reply.words)
    if status == BAD_REQUEST and (unread or not own_words):
        return Uncompressed(reply.words, once_proven=refused)
    return refused


def elsewhere(reply: Reply, names: Names) -> Stop:
    """Nobody takes requests at this URL."""
    target = f", and points to {reply.location.partition('?')[0]}" if reply.location else ""
    return Stop(
        StopKind.ENDPOINT,
        f"There is no ingestion endpoint at this URL ({reply.words}{target}).",
        f"Check {names.address}; redirects are not followed.",
        patience=_PATIENCE,
    )


def without_reply(answer: NoReply, names: Names) -> Decision:
    """There was no whole reply: certificates and URLs do not mend themselves, all else may."""
    if answer.kind is Kind.TLS:
        return Stop(
            StopKind.ENDPOINT,
            answer.words,
            "If a proxy signs with its own CA, name its bundle in REQUESTS_CA_BUNDLE.",
            patience=_PATIENCE,
        )
    if answer.kind is Kind.URL:
        return Stop(StopKind.ENDPOINT, answer.words, f"Check {names.endpoint}.")
    return RetryAfter(answer.words, Cause.FAILURE, overload=answer.kind is not Kind.DNS)
