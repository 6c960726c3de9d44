"""What `workers` says: how many processes there are, or which scheduler of Dask knows the machines.

The configuration, the command line and the Python API read it here; what opens an executor asks here which
kind it is.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit

Workers: TypeAlias = int | str
"""A number from 1 to `MOST_PROCESSES`, `auto`, or an address that `scheduler_of` takes."""

AUTO: Final = "auto"
MOST_PROCESSES: Final = 256
_TLS: Final = {"dask": False, "dask+tls": True}
_OF_DASK: Final = {"tcp": "dask", "tls": "dask+tls", "ssl": "dask+tls"}
_FORMS: Final = "write auto, a number of processes, or the address of a Dask scheduler, dask://host:8786"
ADDRESS_PATTERN: Final = r"^dask(\+tls)?://[^@/?#\s]+:\d+$"


class Scheduler(NamedTuple):
    """Where a scheduler of Dask listens, and whether connections to it are encrypted."""

    host: str
    port: int
    tls: bool

    @property
    def address(self) -> str:
        """The address as Dask writes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.tls else 'tcp'}://{host}:{self.port}"


def parse_workers(value: Any) -> Workers:
    """Check what stands behind `workers` or `--workers`; raises ValueError with the forms that there are."""
    if isinstance(value, int) and not isinstance(value, bool):
        return _number(value)
    text = str(value).strip()
    if text == AUTO:
        return AUTO
    if text.isdecimal():
        return _number(int(text))
    if "://" not in text:
        raise ValueError(f"{value!r} names no workers; {_FORMS}")
    _scheduler(text)
    return text


def scheduler_of(workers: Workers) -> Scheduler | None:
    """The scheduler that *workers* names; None where they are processes of this machine."""
    return _scheduler(workers) if isinstance(workers, str) and workers != AUTO else None


def _number(value: int) -> int:
    if not 1 <= value <= MOST_PROCESSES:
        raise ValueError(f"{value} is not in the range from 1 to {MOST_PROCESSES}")
    return value


def _scheduler(address: str) -> Scheduler:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("the address of a scheduler can't be read; write dask://host:8786") from None
    right = f"{_OF_DASK.get(parts.scheme, parts.scheme)}://{host or 'host'}:{port or 8786}"
    if "@" in parts.netloc:
        raise ValueError(
            f"the address of a scheduler has no user and no password; write {right}, and let certificates say"
            " who may connect (dask+tls://)"
        )
    if parts.scheme not in _TLS:
        forms = f"write {right}" if parts.scheme in _OF_DASK else _FORMS
        raise ValueError(f"{parts.scheme}:// leads to no scheduler of Dask; {forms}")
    if not host or not port:
        raise ValueError(f"{address!r} lacks a {'port' if host else 'host'}; write {right}")
    if parts.path.strip("/") or parts.query or parts.fragment or any(map(str.isspace, address)):
        raise ValueError(f"{address!r} has more than a host and a port; write {right}")
    return Scheduler(host, port, _TLS[parts.scheme])
