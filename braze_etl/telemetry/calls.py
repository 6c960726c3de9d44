"""Calls to the services that watch over a job: one try, a time-out, and no address in what is said of it.

The address of a webhook or of a dead man's switch is a secret: whoever has it may speak in our name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from braze_etl.deadline import CutOffError, Exchange, watched_session
from braze_etl.errors import BrazeEtlError
from braze_etl.telemetry.metrics import Exposed

_HTTP_OK = range(200, 300)
_MOST = 1_000_000


class CallError(BrazeEtlError):
    """A service that watches can't be reached, or did not take what it was told."""


def post_json(url: str, body: Mapping[str, Any], *, timeout: float) -> None:
    """Post *body* as JSON; raises `CallError`. *timeout*: seconds for all of it."""
    _call("POST", url, timeout=timeout, json=dict(body))


def ping(url: str, *, timeout: float) -> None:
    """Ask for *url*, to say that all is well; raises `CallError`."""
    _call("GET", url, timeout=timeout)


def push(exposed: Exposed, url: str, *, job: str, grouping: Mapping[str, str], timeout: float) -> None:
    """Put metrics in the place of all that a Pushgateway has of this job and group; raises `CallError`."""
    from prometheus_client import push_to_gateway

    seconds = timeout

    def handler(
        url: str, method: str, timeout: float | None, headers: list[tuple[str, str]], data: bytes
    ) -> Callable[[], None]:
        return partial(_call, method, url, timeout=timeout or seconds, headers=dict(headers), data=data)

    push_to_gateway(url, job, exposed, dict(grouping), timeout, handler)


def reach(url: str, *, timeout: float) -> str:
    """Ask the server of *url* for its root, and return the server's name; raises `CallError`.

    Any answer will do. Of the address nothing but the server is used, so that nobody is told anything.
    """
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    _answer("HEAD", f"{parts.scheme}://{place}/", timeout=timeout)
    return _host(url)


def _call(method: str, url: str, *, timeout: float, **how: Any) -> None:
    """Make a request that has to succeed."""
    _check(_answer(method, url, timeout=timeout, **how), _host(url))


def _answer(method: str, url: str, *, timeout: float, **how: Any) -> int:
    """Make a request, and return the status; redirects are not followed, for what was posted would be lost.

    The body is not read, and the time limit holds for all that comes before it.
    """
    import requests

    how |= {"allow_redirects": False, "timeout": timeout, "stream": True}
    try:
        with (
            Exchange(most=_MOST).within(timeout),
            watched_session() as session,
            session.request(method, url, **how) as answer,
        ):
            return answer.status_code
    except CutOffError as cut:
        raise CallError(
            f"{_host(url)} can't be reached: {cut.words}",
            remedy="Check that service, and the proxy on the way to it.",
        ) from None
    except (requests.RequestException, ValueError) as error:
        raise CallError(
            f"{_host(url)} can't be reached: {_kind(error)}",
            remedy="Check the address in the configuration, the network and the proxy.",
        ) from None  # whose words hold the address


def _check(status: int, host: str) -> None:
    if status not in _HTTP_OK:
        raise CallError(
            f"{host} answered with the status {status}",
            remedy="Check the address in the configuration, and whether that service still knows it.",
        )


def _host(url: str) -> str:
    return urlsplit(url).hostname or "an address without a host"


def _kind(error: Exception) -> str:
    return type(error).__name__
