"""The wire: one POST, one answer, no exception. Retrying is decided elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Protocol

import requests

from braze_etl.clock import Clock
from braze_etl.deadline import CutOffError, Exchange, watched_session
from braze_etl.delivery.reply import Kind, NoReply, Reply, read_reply
from braze_etl.delivery.settings import DeliverySettings, shown_url

_MOST_OF_A_REPLY = 4_000_000
_MOST_ON_THE_WIRE = 2 * _MOST_OF_A_REPLY  # with the lines of its chunks
_CHUNK = 8192
_CONNECT_SECONDS = 10.0

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

    Proxies and CA bundles come from the environment, credentials for the host (`.netrc`) do not: the key is
    in the body. The time limit holds for the whole exchange, from connecting to the last byte of the reply.
    With `gives_way` a request is given up as soon as the run has to stop: one that brings no event.
    """

    def __init__(self, settings: DeliverySettings, clock: Clock, *, gives_way: bool = False) -> None:
        self._settings = settings
        self._clock = clock
        self._gives_way = gives_way
        self._local = threading.local()
        self._sessions: list[requests.Session] = []
        self._lock = threading.Lock()

    def send(self, body: bytes, *, gzip: bool) -> Reply | NoReply:
        # What requests raises holds the request, and that the key: it ends here, no error is chained to it.
        exchange = Exchange(gives_way=self._gives_way, most=_MOST_ON_THE_WIRE)
        try:
            with exchange.within(self._settings.timeout):
                return self._post(body, {"Content-Encoding": "gzip"} if gzip else {})
        except CutOffError:
            kind = Kind.TIMEOUT
        except (requests.RequestException, OSError) as error:
            kind = _kind_of(error)
        return NoReply(kind, _WORDS[kind].format(url=shown_url(self._settings.url)))

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for session in self._sessions:
                session.close()
            self._sessions.clear()

    def _post(self, body: bytes, headers: dict[str, str]) -> Reply:
        timeout = self._settings.timeout
        with self._session().post(
            self._settings.url,
            data=body,
            headers=headers,
            timeout=(min(timeout, _CONNECT_SECONDS), timeout),
            allow_redirects=False,
            stream=True,
        ) as response:
            raw = _read(response)
            return read_reply(
                response.status_code,
                response.headers,
                raw,
                now=self._clock.now(),
                secret=self._settings.api_key.get_secret_value(),
            )

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = _new_session()
            with self._lock:
                self._sessions.append(session)
        return session


def _new_session() -> requests.Session:
    session = watched_session()
    session.headers.update({"Content-Type": "application/json", "Accept": "*/*", "User-Agent": "braze-etl"})
    session.auth = _no_credentials
    return session


def _no_credentials(request: requests.PreparedRequest) -> requests.PreparedRequest:
    # Its presence keeps requests from looking for the host in .netrc.
    return request


def _read(response: requests.Response) -> bytes:
    """The reply's first megabytes. One that is longer, cut off there, is no JSON, and counts as that."""
    raw = bytearray()
    for chunk in response.iter_content(_CHUNK):
        raw += chunk
        if len(raw) > _MOST_OF_A_REPLY:
            break
    return bytes(raw)


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
