"""Other machines, where `workers` names a scheduler: what they need, the way there, what each one proves."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

from braze_etl.commands.doctor.check import Check, Finding, fail, ok, warn
from braze_etl.commands.doctor.site import Site

_READS: Final = ("source", "quarantine", "amplitude", "mapping")


def ready(site: Site) -> Finding:
    """Dask and its certificates, places that all machines reach, no secret in the configuration itself."""
    if beyond := [words for _, words in site.settings.beyond_reach(site.workers)]:
        return fail("; ".join(beyond), "Move them, or use the processes of this machine.")
    variables = ", ".join(sorted(site.shipment.marks)) or "none"
    return ok(f"Dask is installed, and no secret travels; variables that each machine needs: {variables}")


def scheduler(site: Site) -> Finding:
    """Whether it answers, and runs what this machine runs."""
    assert site.scheduler is not None
    there, here = site.surveyed.scheduler, version("distributed")
    seen = f"{site.scheduler.address} answers: Dask {there.dask}, Python {there.python}"
    if there.dask != here:
        return fail(f"{seen}; here is Dask {here}", "Run scheduler, command and machines from one image.")
    return ok(seen)


def fit(site: Site) -> Finding:
    """What each machine proves before it gets work; see `machine.bring_up`."""
    assert site.scheduler is not None
    machines = site.surveyed.machines
    if not machines:
        return fail(
            "the scheduler knows no machine",
            f"Start some: `dask worker {site.scheduler.address} --nworkers 1 --no-nanny --memory-limit 0`.",
        )
    unfit = {name: found for name, found in machines.items() if not isinstance(found, int)}
    if not unfit:
        return ok(f"{_count(len(machines), 'machine')} may work")
    causes = "; ".join(f"{name}: {found.cause}" for name, found in unfit.items())
    seen = f"{len(unfit)} of {_count(len(machines), 'machine')} would get no work: {causes}"
    remedies = dict.fromkeys(found.remedy for found in unfit.values() if found.remedy)
    return (fail if len(unfit) == len(machines) else warn)(seen, " ".join(remedies))


def processes(site: Site) -> Finding:
    """How many there are, against the requests that may be in flight."""
    numbers = [found for found in site.surveyed.machines.values() if isinstance(found, int)]
    total, most = sum(numbers), site.settings.amplitude.in_flight
    seen = f"{_count(total, 'process', 'es')} on {_count(len(numbers), 'machine')}"
    if total <= most:
        return ok(seen)
    return warn(
        f"{seen}; amplitude.concurrency allows {most} requests in flight: {total - most} would have no work",
        f"Set amplitude.concurrency to {total} or more.",
    )


def _count(number: int, noun: str, ending: str = "s") -> str:
    return f"{number} {noun}{ending if number != 1 else ''}"


CHECKS: Final = (
    Check("machines.ready", ready, reads=_READS),
    Check("machines.scheduler", scheduler, needs=("machines.ready",), reads=_READS),
    Check("machines.fit", fit, needs=("machines.scheduler", "source.list"), reads=_READS),
    Check("machines.processes", processes, needs=("machines.fit",), reads=_READS),
)
