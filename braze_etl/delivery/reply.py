"""What came back from a request: a reply as read from the wire, or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any
from urllib.parse import quote

import orjson

from braze_etl.quoting import masked

_SHORT = 200
_SHORTEST_SECRET = 4
_THROTTLED = 429
_OK = 200


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP reply: its status, its body if that is a JSON object, its first characters, its `Retry-After`.

    `retry_after` is in seconds from its arrival; `date` is the time by the server.
    """

    status: int
    body: dict[str, Any] | None = None
    text: str = ""
    retry_after: float | None = None
    location: str = ""
    date: datetime | None = None

    @property
    def meaning(self) -> int:
        """The status that counts: a 429 in either place, else the body's `code` within a 200, else HTTP's.

        Amplitude has been seen to answer 200 with another `code` in the body (amplitude.md, section 0).
        A 200 whose body is no JSON object, or whose `code` is no number, means nothing: 0.
        """
        if self.body is None:
            return 0 if self.status == _OK else self.status
        code = self.body.get("code", _OK)
        if _THROTTLED in (self.status, code):
            return _THROTTLED
        if self.status != _OK:
            return self.status
        return int(code) if isinstance(code, int | float) and not isinstance(code, bool) else 0

    @property
    def error(self) -> str:
        """The body's `error`, or an empty string."""
        error = (self.body or {}).get("error", "")
        return error if isinstance(error, str) else ""

    @property
    def own_words(self) -> bool:
        """Whether it has the form of Amplitude's refusals, and so is not a proxy's."""
        return bool(self.error) and isinstance((self.body or {}).get("code"), int)

    @property
    def words(self) -> str:
        """The reply in one line, for people; it is kept in the quarantine.

        Of a JSON object only `error` is quoted: its lists may name users and devices.
        """
        said = self.error if self.body is not None else self.text
        return f"HTTP {self.status}: {said}" if said else f"HTTP {self.status}"


class Kind(StrEnum):
    """Why there was no reply."""

    TIMEOUT = "timeout"
    RESET = "reset"
    REFUSED = "refused"
    DNS = "dns"
    TLS = "tls"
    PROXY = "proxy"
    URL = "url"


@dataclass(frozen=True, slots=True)
class NoReply:
    """The request was sent, or not, but no whole reply came. Whether events were taken is unknown."""

    kind: Kind
    words: str


def kind_of(answer: Reply | NoReply) -> str:
    """What an answer is counted as: its HTTP status, or why there was none."""
    return answer.kind.value if isinstance(answer, NoReply) else str(answer.status)


def read_reply(
    status: int, headers: Mapping[str, str], raw: bytes, *, now: datetime, secret: str = ""
) -> Reply:
    """Read a reply. *secret* is blotted out of all that may be quoted: refusals of a key can repeat it."""
    for form in {secret, quote(secret, safe="")} if len(secret) >= _SHORTEST_SECRET else ():
        raw = raw.replace(form.encode(), b"***")
    body = _json_object(raw)
    if body is not None and isinstance(body.get("error"), str):
        body["error"] = _quote(body["error"])
    return Reply(
        status=status,
        body=body,
        text=_quote(raw[: 4 * _SHORT].decode("utf-8", "replace")),
        retry_after=retry_after(headers.get("Retry-After", ""), now),
        location=headers.get("Location", ""),
        date=_moment(headers.get("Date", "")),
    )


def retry_after(value: str, now: datetime) -> float | None:
    """Seconds to wait by a `Retry-After` header, a number or a date (RFC 9110, 10.2.3); None for neither."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value)
    moment = _moment(value)
    return None if moment is None else max(0.0, (moment - now).total_seconds())


def _moment(value: str) -> datetime | None:
    """A date of HTTP (RFC 9110, 5.6.7)."""
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _json_object(raw: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _quote(text: str) -> str:
    line = masked(" ".join(text.split()))
    return line if len(line) <= _SHORT else line[: _SHORT - 3] + "..."
