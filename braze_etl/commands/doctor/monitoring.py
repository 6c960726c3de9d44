"""Those who watch over the job: whether they can be told. A run goes on without, so nothing here fails."""

from __future__ import annotations

from typing import Final

from pydantic import SecretStr

from braze_etl.commands.doctor.check import Check, Finding, ok, skipped, warn
from braze_etl.commands.doctor.site import Site, is_writable
from braze_etl.monitoring.exposition import CallError, reach


def textfile(site: Site) -> Finding:
    """Whether the file for the node exporter can be put into its folder."""
    path = site.settings.metrics.textfile
    if path is None:
        return skipped("metrics.textfile is not set")
    folder = path.absolute().parent
    if not folder.is_dir():
        return warn(f"there is no folder {folder}", "Make it, or correct metrics.textfile.")
    if not is_writable(folder):
        return warn(f"{folder} can't be written", "Give the user that runs the job the right to write there.")
    return ok(f"{path} can be written")


def pushgateway(site: Site) -> Finding:
    """Whether there is a way to the Pushgateway; nothing is pushed."""
    gateway = site.settings.metrics.pushgateway
    if gateway.url is None:
        return skipped("metrics.pushgateway.url is not set")
    return _reached({"the Pushgateway": gateway.url}, gateway.timeout.total_seconds())


def notify(site: Site) -> Finding:
    """Whether there is a way to webhook and dead man's switch; neither is told anything."""
    section = site.settings.notify
    named = {"the webhook": section.webhook, "the dead man's switch": section.dead_man}
    addresses = {name: address for name, address in named.items() if address is not None}
    if not addresses:
        return skipped("notify names nobody")
    return _reached(addresses, section.timeout.total_seconds())


def _reached(addresses: dict[str, SecretStr], timeout: float) -> Finding:
    seen = []
    for name, address in addresses.items():
        try:
            seen.append(f"{name} at {reach(address.get_secret_value(), timeout=timeout)} answers")
        except CallError as error:
            return warn(f"{name}: {error.message}", error.remedy)
    return ok("; ".join(seen))


CHECKS: Final = (
    Check("metrics.textfile", textfile, reads=("metrics.textfile",)),
    Check("metrics.pushgateway", pushgateway, reads=("metrics.pushgateway",)),
    Check("notify", notify, reads=("notify",)),
)
