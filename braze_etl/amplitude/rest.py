"""Amplitude's REST APIs for reading: who asks, how often, and what an answer means (amplitude-read.md).

All of them share Basic authentication (the API key as user, the secret key as password) and five requests at
once over a whole project (4.6). A redirect is never followed: credentials go to one host.
"""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar
from urllib.parse import urlsplit

import orjson
import requests

from braze_etl.clock import Clock
from braze_etl.deadline import CutOffError, Exchange
from braze_etl.delivery.http import (
    NoReply,
    Reply,
    blotted,
    new_session,
    no_reply,
    read_beginning,
    read_reply,
    shown_url,
    socket_timeout,
)
from braze_etl.errors import AbandonedError, ConfigError, KeyRefusedError, ReadError

if TYPE_CHECKING:
    from braze_etl.amplitude.settings import Amplitude

_Taken = TypeVar("_Taken")

AT_ONCE: Final = 2
"""Of the five requests that a project may have under way: others read, too."""
ANSWER_SECONDS: Final = 60.0
"""For an answer in JSON."""
FIRST_SECONDS: Final = 600.0
"""Until the first byte of a download: Amplitude puts it together first."""
PIECE_SECONDS: Final = 60.0
"""For each piece of `_PIECE` bytes of one."""
ATTEMPTS: Final = 4
"""Of a request that fails without saying why."""

_PIECE: Final = 1 << 18
_MOST: Final = 64_000_000  # of an answer in JSON; a user's 1,000 events have a few
_BACKOFF: Final = (2.0, 10.0, 30.0)
_THROTTLED_SECONDS: Final = 30.0
_OK, _BAD, _FORBIDDEN, _TIMED_OUT, _THROTTLED = 200, 400, (401, 403), 408, 429
_SERVER_ERRORS: Final = range(500, 600)
_KEYS: Final = (
    "Check `amplitude.api_key`, `amplitude.secret_key` and `amplitude.region`: a pair of keys works only in "
    "the region of its project."
)
_WAY: Final = (
    "See what stands between this machine and Amplitude (a proxy, a login page), and "
    "`amplitude.read_endpoint`; redirects are not followed."
)
_LATER: Final = "See Amplitude's status page, network and proxy; try again later."


class RestApi:
    """Asks Amplitude, at most `AT_ONCE` questions at a time; may be shared by threads. To be closed.

    What fails is tried again for as long as it may pass, within *attempts* and the `give_up_after` of the
    settings. Every method gives way to the end of a run, with `AbandonedError`.
    Raises `ConfigError` without both keys.
    """

    def __init__(self, settings: Amplitude, clock: Clock, *, attempts: int = ATTEMPTS) -> None:
        key, secret = settings.api_key.get_secret_value(), settings.secret_key.get_secret_value()
        for name, value in (("api_key", key), ("secret_key", secret)):
            if not value:
                raise ConfigError(
                    f"amplitude.{name} is not set, and what reads from Amplitude needs it",
                    remedy="Amplitude shows both keys in a project's settings; set it from the environment.",
                )
        token = b64encode(f"{key}:{secret}".encode()).decode()
        self._settings = settings
        self._clock = clock
        self._secrets = (token, secret, key)
        self._headers = {"Authorization": f"Basic {token}"}
        self._attempts = attempts
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._local = threading.local()
        self._sessions: list[requests.Session] = []

    def get(self, path: str, **params: str | int) -> dict[str, Any]:
        """The JSON object that *path* (with its slash) answers.

        Raises `KeyRefusedError`; `ReadError` for every other refusal, and for what does not pass.
        """
        patience = self.patience(path)
        while True:
            answer = self._attempt(path, params, ANSWER_SECONDS, self._read)
            if isinstance(answer, Reply) and answer.status == _OK and answer.body is not None:
                return answer.body
            patience.bear(answer)

    def download(
        self,
        path: str,
        params: Mapping[str, str | int],
        target: BinaryIO,
        *,
        magic: bytes,
        count: Callable[[int], None],
    ) -> Reply | NoReply | None:
        """Try once to write what *path* answers to *target*; None when its end was reached.

        An answer that does not begin with *magic* is no such thing whatever its status, and comes as a reply.
        *count* is told the bytes of each piece before it is written, and may raise.
        """

        def write(response: requests.Response, exchange: Exchange) -> Reply | None:
            if response.status_code != _OK:
                return self._read(response, exchange)
            chunks = response.iter_content(_PIECE)
            piece = _next_piece(chunks, exchange)
            if not piece.startswith(magic):
                return self._reply(response, _flattened(piece))
            while piece:
                count(len(piece))
                _store(target, piece)
                piece = _next_piece(chunks, exchange)
            return None

        return self._attempt(path, params, FIRST_SECONDS, write)

    def patience(self, path: str) -> Patience:
        """That of one call of *path*."""
        return Patience(
            shown_url(self._settings.read_url(path)),
            self._clock,
            self._settings.give_up_after.total_seconds(),
            self._attempts,
        )

    def pause(self, seconds: float) -> None:
        """Wait before the next question."""
        _pause(self._clock, seconds, self._settings.read_url(""))

    def close(self) -> None:
        """Close the connections of all threads."""
        while self._sessions:
            self._sessions.pop().close()

    def _attempt(
        self,
        path: str,
        params: Mapping[str, str | int],
        seconds: float,
        take: Callable[[requests.Response, Exchange], _Taken],
    ) -> _Taken | NoReply:
        # What requests raises holds the request, and that the keys: it ends here, no error is chained to it.
        url, exchange = self._settings.read_url(path), Exchange(gives_way=True, most=_MOST, streams=True)
        try:
            with self._slots:
                with exchange.within(seconds):
                    response = self._session().get(
                        url,
                        params=params,
                        timeout=socket_timeout(seconds),
                        allow_redirects=False,
                        stream=True,
                    )
                with closing(response):
                    return take(response, exchange)
        except CutOffError as cut:
            if cut.stopped:
                raise _abandoned(url) from None
            return no_reply(cut, url)
        except (requests.RequestException, OSError) as error:
            return no_reply(error, url)

    def _read(self, response: requests.Response, exchange: Exchange) -> Reply:
        with exchange.within(ANSWER_SECONDS):
            return self._reply(response, read_beginning(response, _MOST))

    def _reply(self, response: requests.Response, raw: bytes) -> Reply:
        raw = blotted(raw, *self._secrets)
        if response.status_code != _OK:
            raw = _flattened(raw)
        return read_reply(response.status_code, response.headers, raw, now=self._clock.now())

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = new_session(self._headers)
            self._sessions.append(session)
        return session


class Patience:
    """How long one call is tried again: *seconds* while it is throttled, *attempts* times when it fails."""

    def __init__(self, url: str, clock: Clock, seconds: float, attempts: int) -> None:
        self._url = url
        self._clock = clock
        self._seconds = seconds
        self._left = seconds
        self._attempts = attempts
        self._failures = 0

    @property
    def was_tried(self) -> bool:
        """Whether it has failed before."""
        return self._failures > 0

    def bear(self, answer: Reply | NoReply) -> None:
        """Wait until the call may be tried again after *answer*, which did not bring what was asked for.

        Raises `KeyRefusedError` for refused keys, `ReadError` for what will not pass, or has not passed.
        """
        if isinstance(answer, NoReply):
            self.fail(answer.words)
        elif answer.status == _THROTTLED:
            self._wait_for_room(answer)
        elif answer.status in (_OK, _TIMED_OUT) or answer.status in _SERVER_ERRORS:
            said = answer.words if answer.status != _OK or answer.text else "an empty answer"
            self.fail(f"{self._url} did not answer what was asked ({said})")
        elif answer.status in _FORBIDDEN:
            raise KeyRefusedError(f"{self._url} refused the keys ({answer.words})", remedy=_KEYS)
        else:
            self._refuse(answer)

    def fail(self, words: str) -> None:
        """Wait after a failure that may pass; `ReadError` with *words* when it was the last attempt."""
        self._failures += 1
        if self._failures == self._attempts:
            often = f", {self._attempts} times in a row" if self._attempts > 1 else ""
            raise ReadError(f"{words}{often}", remedy=_LATER)
        _pause(self._clock, _BACKOFF[self._failures - 1], self._url)

    def _wait_for_room(self, answer: Reply) -> None:
        seconds = _THROTTLED_SECONDS if answer.retry_after is None else max(1.0, answer.retry_after)
        if seconds > self._left:
            raise ReadError(
                f"{self._url} is throttled ({answer.words}), also after {self._seconds - self._left:.0f} s",
                remedy="Others read from this project: try again later, or raise amplitude.give_up_after.",
            )
        self._left -= seconds
        _pause(self._clock, seconds, self._url)

    def _refuse(self, answer: Reply) -> None:
        if answer.status == _BAD:
            raise ReadError(
                f"{self._url} refused the request ({answer.words})",
                remedy="The words in brackets are Amplitude's.",
            )
        target = f", and points to {shown_url(answer.location)}" if answer.location else ""
        raise ReadError(f"Amplitude does not answer at {self._url} ({answer.words}{target})", remedy=_WAY)


def _flattened(raw: bytes) -> bytes:
    """A refusal with its words where replies are looked for them: here they were seen in an object."""
    try:
        error = orjson.loads(raw)["error"]
        said = (error.get("type"), error.get("message"), error.get("metadata", {}).get("details"))
    except (ValueError, LookupError, TypeError, AttributeError):
        return raw
    return orjson.dumps({"error": ": ".join(str(words) for words in said if words)})


def _next_piece(chunks: Iterator[bytes], exchange: Exchange) -> bytes:
    """The next `_PIECE` bytes, or what is left, in the time of one piece: chunks may have a byte each."""
    piece = bytearray()
    with exchange.within(PIECE_SECONDS):
        while len(piece) < _PIECE and (chunk := next(chunks, b"")):
            piece += chunk
    return bytes(piece)


def _store(target: BinaryIO, piece: bytes) -> None:
    try:
        target.write(piece)
    except OSError as error:
        raise ReadError(
            f"a download from Amplitude can't be kept: {error.strerror}",
            remedy="Make room, or point TMPDIR to a disk that has some.",
        ) from error


def _pause(clock: Clock, seconds: float, url: str) -> None:
    try:
        Exchange(gives_way=True, most=0).pause(clock, seconds)
    except CutOffError:
        raise _abandoned(url) from None


def _abandoned(url: str) -> AbandonedError:
    """The error when the run has to stop while Amplitude is asked."""
    return AbandonedError(
        f"{urlsplit(url).hostname} was not waited for any longer: the run has to stop", remedy="Run it again."
    )
