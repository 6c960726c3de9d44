"""Metrics in Prometheus' exposition format: what one is, and a file that the node exporter reads.

Everything is worked out before anything is exposed, so there are no live counters here: a job that ends hands
over plain numbers.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from braze_etl.deadline import CutOffError, Exchange, watched_session
from braze_etl.engine.latency import Histogram
from braze_etl.errors import BrazeEtlError
from braze_etl.quoting import visible

if TYPE_CHECKING:
    from prometheus_client import Metric as Family

_READABLE = 0o644


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric by its exposed name (a counter's ends in `_total`); its samples differ in *labels*."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


Samples: TypeAlias = Mapping[str, Mapping[tuple[str, ...], float | Histogram]]
"""By the metric's name, then by the values of its labels."""


@dataclass(frozen=True, slots=True)
class Exposed:
    """Metrics with their samples, as the Prometheus library collects them; *common* labels stand on all."""

    metrics: Sequence[Metric]
    samples: Samples
    common: Mapping[str, str]

    def collect(self) -> Iterator[Family]:
        """Give a family for each metric that has a sample."""
        for metric in self.metrics:
            if values := self.samples.get(metric.name):
                yield self._family(metric, values.items())

    def _family(self, metric: Metric, values: Iterable[tuple[tuple[str, ...], float | Histogram]]) -> Family:
        from prometheus_client import Metric as Family

        name = metric.name.removesuffix("_total")
        family = Family(name, metric.help, metric.kind)
        for labels, value in values:
            given = {**self.common, **dict(zip(metric.labels, labels, strict=True))}
            own = {label: visible(text) for label, text in given.items()}
            if isinstance(value, Histogram):
                for bound, count in value.buckets():
                    family.add_sample(f"{name}_bucket", {**own, "le": bound}, count)
                family.add_sample(f"{name}_count", own, sum(value.counts))
                family.add_sample(f"{name}_sum", own, value.total)
            else:
                family.add_sample(metric.name, own, value)
        return family


def exposition(metrics: Sequence[Metric], samples: Samples, **common: str) -> Exposed:
    """Put metrics and samples together; `KeyError` for a sample of a metric that is not listed."""
    unlisted = samples.keys() - {metric.name for metric in metrics}
    if unlisted:
        raise KeyError(f"no such metric: {', '.join(sorted(unlisted))}")
    return Exposed(metrics, samples, common)


def write_textfile(path: Path, exposed: Exposed) -> None:
    """Write a file for the node exporter's textfile collector, which reads the old one or the new.

    Everybody may read it, whatever the umask: the exporter runs as another user. Raises `OSError`.
    """
    from prometheus_client import generate_latest

    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(generate_latest(exposed))
            os.fchmod(file.fileno(), _READABLE)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


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
    status, host = _answer(method, url, timeout=timeout, **how), _host(url)
    if status not in _HTTP_OK:
        raise CallError(
            f"{host} answered with the status {status}",
            remedy="Check the address in the configuration, and whether that service still knows it.",
        )


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
            f"{_host(url)} can't be reached: {type(error).__name__}",
            remedy="Check the address in the configuration, the network and the proxy.",
        ) from None  # whose words hold the address


def _host(url: str) -> str:
    return urlsplit(url).hostname or "an address without a host"
