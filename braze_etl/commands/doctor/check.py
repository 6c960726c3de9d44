"""What a check is, and what it finds; one that breaks hides no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from braze_etl.commands.doctor.site import Site
from braze_etl.errors import BrazeEtlError, ConfigError
from braze_etl.quoting import masked


class Status(StrEnum):
    """How a check came out. Warnings do not keep a run from its work; failures do, or will."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen, and what to do about it; as in errors, without the password of any address."""

    status: Status
    seen: str
    remedy: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "seen", masked(self.seen))


@dataclass(frozen=True, slots=True)
class Check:
    """One prerequisite.

    It is skipped where a check in `needs` failed or was skipped, or where a value below one of the sections
    in `reads` (dotted, as in the configuration) waits for the environment.
    """

    name: str
    run: Callable[[Site], Finding]
    needs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Examined:
    """A check with what it found."""

    name: str
    finding: Finding

    def as_dict(self) -> dict[str, Any]:
        """The finding as JSON values."""
        found = self.finding
        return {"check": self.name, "status": found.status, "seen": found.seen, "remedy": found.remedy}


def ok(seen: str) -> Finding:
    """All is well."""
    return Finding(Status.OK, seen)


def warn(seen: str, remedy: str) -> Finding:
    """It works, and somebody should know."""
    return Finding(Status.WARN, seen, remedy)


def fail(seen: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(Status.FAIL, seen, remedy)


def skipped(why: str) -> Finding:
    """There is nothing to look at."""
    return Finding(Status.SKIPPED, why)


def examine(checks: Iterable[Check], site: Site) -> Iterator[Examined]:
    """Make the checks in their order."""
    status: dict[str, Status] = {}
    for check in checks:
        finding = _result(check, site, status)
        status[check.name] = finding.status
        yield Examined(check.name, finding)


def _result(check: Check, site: Site, status: dict[str, Status]) -> Finding:
    for name in check.needs:
        if status.get(name) in (Status.FAIL, Status.SKIPPED):
            return skipped(f"{name} comes first: {status[name].value}")
    try:
        site.config.require(*check.reads)
    except ConfigError:
        return skipped("waits for an environment variable: see environment")
    try:
        return check.run(site)
    except BrazeEtlError as error:
        return fail(error.message, error.remedy)
    except Exception as error:  # noqa: BLE001 - a check that breaks must not hide the others
        remedy = "Look into it by hand; this is a fault of the check, or of the machine."
        return fail(f"the check itself broke: {type(error).__name__}: {error}", remedy)
