"""The wire: one POST, one answer, no exception. Retrying is decided elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, Protocol
from urllib.parse import quote, urlsplit, urlunsplit

import orjson
import requests

from braze_etl.clock import Clock
from braze_etl.deadline import CutOffError, Exchange, watched_session
from braze_etl.quoting import masked

_SHORT = 200
_SHORTEST_SECRET = 4


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
    def error(self) -> str:
        """The body's `error`, or an empty string."""
        error = (self.body or {}).get("error", "")
        return error if isinstance(error, str) else ""

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
    """The request was sent, or not, but no whole reply came. Whether its items were taken is unknown."""

    kind: Kind
    words: str


def shown_url(url: str) -> str:
    """The URL without user, password and query, fit for logs and error texts."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def kind_of(answer: Reply | NoReply) -> str:
    """What an answer is counted as: its HTTP status, or why there was none."""
    return answer.kind.value if isinstance(answer, NoReply) else str(answer.status)


def read_reply(
    status: int, headers: Mapping[str, str], raw: bytes, *, now: datetime, secret: str = ""
) -> Reply:
    """Read a reply. *secret* is blotted out of all that may be quoted: refusals of a key can repeat it."""
    raw = blotted(raw, secret)
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


def blotted(raw: bytes, *secrets: str) -> bytes:
    """The bytes without the secrets, also as a URL would write them; one of a few characters stays."""
    for secret in secrets:
        for form in {secret, quote(secret, safe="")} if len(secret) >= _SHORTEST_SECRET else ():
            raw = raw.replace(form.encode(), b"***")
    return raw


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


_MOST_OF_A_REPLY = 4_000_000
_MOST_ON_THE_WIRE = 2 * _MOST_OF_A_REPLY  # with the lines of its chunks
_CHUNK = 8192
_CONNECT_SECONDS = 10.0
_NO_HEADERS: Mapping[str, str] = {}
_JSON: Mapping[str, str] = {"Content-Type": "application/json"}

# By name: urllib3 is the business of requests, whose versions take different ones of it.
_KINDS = {
    "SSLCertVerificationError": Kind.TLS,
    "NameResolutionError": Kind.DNS,
    "gaierror": Kind.DNS,
    "ConnectTimeout": Kind.TIMEOUT,
    "ConnectTimeoutError": Kind.TIMEOUT,
    "ReadTimeout": Kind.TIMEOUT,
    "ReadTimeoutError": Kind.TIMEOUT,
    "TimeoutError": Kind.TIMEOUT,
    "NewConnectionError": Kind.REFUSED,
    "InvalidURL": Kind.URL,
    "InvalidSchema": Kind.URL,
    "MissingSchema": Kind.URL,
    "LocationParseError": Kind.URL,
}

_WORDS = {
    Kind.TIMEOUT: "{url} did not answer in time",
    Kind.RESET: "the connection to {url} broke before the whole reply was there",
    Kind.REFUSED: "{url} can't be reached: the connection was refused",
    Kind.DNS: "the host of {url} can't be resolved",
    Kind.TLS: "the certificate of {url} can't be verified",
    Kind.PROXY: "the proxy on the way to {url} can't be used",
    Kind.URL: "{url} is no URL to post to",
}


class Transport(Protocol):
    """Posts a body once."""

    def send(self, body: bytes, *, gzip: bool) -> Reply | NoReply:
        """Post *body*, JSON or gzipped JSON. What goes wrong is a value: the caller decides on it."""
        ...


class HttpTransport:
    """`requests` with one session a thread: certificates verified, no redirects, no retries of its own.

    *secret* stands in the body, or in one of *headers*: it is blotted out of all that may be quoted. Proxies
    and CA bundles come from the environment, credentials for the host (`.netrc`) do not. *timeout* is in
    seconds, and holds for the whole exchange, from connecting to the last byte of the reply. With `gives_way`
    a request is given up as soon as the run has to stop: one that brings no item.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        timeout: float,
        secret: str = "",
        headers: Mapping[str, str] = _NO_HEADERS,
        gives_way: bool = False,
    ) -> None:
        self._url = url
        self._clock = clock
        self._timeout = timeout
        self._secret = secret
        self._headers = headers
        self._gives_way = gives_way
        self._local = threading.local()
        self._sessions: list[requests.Session] = []
        self._lock = threading.Lock()

    def send(self, body: bytes, *, gzip: bool) -> Reply | NoReply:
        # What requests raises holds the request, and that the key: it ends here, no error is chained to it.
        exchange = Exchange(gives_way=self._gives_way, most=_MOST_ON_THE_WIRE)
        try:
            with exchange.within(self._timeout):
                return self._post(body, {"Content-Encoding": "gzip"} if gzip else {})
        except (CutOffError, requests.RequestException, OSError) as error:
            return no_reply(error, self._url)

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for session in self._sessions:
                session.close()
            self._sessions.clear()

    def _post(self, body: bytes, headers: dict[str, str]) -> Reply:
        with self._session().post(
            self._url,
            data=body,
            headers=headers,
            timeout=socket_timeout(self._timeout),
            allow_redirects=False,
            stream=True,
        ) as response:
            raw = read_beginning(response)
            return read_reply(
                response.status_code,
                response.headers,
                raw,
                now=self._clock.now(),
                secret=self._secret,
            )

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = new_session({**_JSON, **self._headers})
            with self._lock:
                self._sessions.append(session)
        return session


def new_session(headers: Mapping[str, str]) -> requests.Session:
    """A session whose connections serve exchanges: certificates verified, nothing out of `.netrc`."""
    session = watched_session()
    session.headers.update({"Accept": "*/*", "User-Agent": "braze-etl", **headers})
    session.auth = _no_credentials
    return session


def _no_credentials(request: requests.PreparedRequest) -> requests.PreparedRequest:
    # Its presence keeps requests from looking for the host in .netrc.
    return request


def socket_timeout(seconds: float) -> tuple[float, float]:
    """The time-outs of `requests` for an exchange of so many seconds: to connect, and of one silence."""
    return min(seconds, _CONNECT_SECONDS), seconds


def read_beginning(response: requests.Response, most: int = _MOST_OF_A_REPLY) -> bytes:
    """The reply's first megabytes. One that is longer, cut off there, is no JSON, and counts as that."""
    raw = bytearray()
    for chunk in response.iter_content(_CHUNK):
        raw += chunk
        if len(raw) > most:
            break
    return bytes(raw)


def no_reply(error: Exception, url: str) -> NoReply:
    """What an error of `requests`, or the cut of an exchange, says of a request to *url*."""
    kind = Kind.TIMEOUT if isinstance(error, CutOffError) else _kind_of(error)
    return NoReply(kind, _WORDS[kind].format(url=shown_url(url)))


def _kind_of(error: BaseException) -> Kind:
    if isinstance(error, requests.exceptions.ProxyError):
        return Kind.PROXY
    for cause in _causes(error):
        kind = _KINDS.get(type(cause).__name__)
        if kind is not None:
            return kind
    return Kind.RESET


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was made of, the innermost first: that one knows best what happened."""
    for inner in (*error.args, getattr(error, "reason", None)):
        if isinstance(inner, BaseException):
            yield from _causes(inner)
    yield error
