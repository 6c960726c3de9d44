"""The configuration, the environment, and the machine."""

from __future__ import annotations

import platform
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Final

from braze_etl import __version__
from braze_etl.commands.doctor.check import Check, Finding, fail, ok, skipped, warn
from braze_etl.commands.doctor.site import Site, existing, is_writable
from braze_etl.flows.currents_to_amplitude.mapping import failed_tests
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.mapping.id_cache import cache_folder
from braze_etl.mapping.lookup import is_sqlite
from braze_etl.mapping.people import check_suppression
from braze_etl.storage.opening import lies_below, locate
from braze_etl.uri import parse_ledger, parse_uri

_PACKAGES: Final = ("boto3", "fastavro", "orjson", "pydantic", "requests")
_LITTLE: Final = 1_000_000_000
_NOTHING: Final = 100_000_000
_FORGETFUL: Final = frozenset({"overlay", "aufs", "tmpfs", "ramfs"})


def config(site: Site) -> Finding:
    """The configuration is valid (else there would be no doctor), and so are the tests in its mapping."""
    tests = len(site.settings.mapping.tests)
    failed = failed_tests(site.config)
    if failed:
        return fail(
            f"{len(failed)} of {tests} tests of the mapping fail:{failed[0]}", "`braze-etl config check`."
        )
    return ok(f"{site.config.path} is valid" + (f", {tests} tests of the mapping pass" if tests else ""))


def environment(site: Site) -> Finding:
    """Every variable is set, and there is a key."""
    unset = sorted(set(site.config.unset.values()))
    if unset:
        return fail(
            f"not set: {', '.join(unset)}", "Set them where the job runs: cron, unit, secret of the pod."
        )
    if not site.settings.amplitude.api_key.get_secret_value():
        return fail(
            "amplitude.api_key is empty", "Set it to ${AMPLITUDE_API_KEY}, and that in the environment."
        )
    return ok("every variable that the configuration names is set")


def versions(_site: Site) -> Finding:
    """What runs here, for whoever reports a fault."""
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return ok(f"braze-etl {__version__}, Python {platform.python_version()}, {packages}")


def disk(site: Site) -> Finding:
    """Room for the ledger, the quarantine, and the list of due files."""
    free = {
        str(place): site.machine.free(place)
        for place in (Path(tempfile.gettempdir()), *_places(site.settings))
    }
    place, least = min(free.items(), key=lambda each: each[1])
    seen = f"{least / 1e9:,.1f} GB free at {place}"
    remedy = "Make room, or move state, quarantine or TMPDIR to another disk."
    if least < _NOTHING:
        return fail(seen, remedy)
    return warn(seen, remedy) if least < _LITTLE else ok(seen)


def container(site: Site) -> Finding:
    """A ledger on a disk that ends with its container begins anew with every run."""
    sign, path = site.machine.container(), parse_ledger(site.settings.state.uri)
    if not isinstance(path, Path):
        return ok("the ledger is in no file of this machine")
    kind = site.machine.filesystem(path)
    where = f"{path} lies on {kind or 'an unknown file system'}"
    if not sign:
        return ok(f"{where}; this does not look like a container")
    if kind in _FORGETFUL:
        return warn(
            f"{where}, and this looks like a container ({sign}): it would be forgotten with it",
            "Keep the state in S3 (state.uri: s3://...), or on a volume that outlives the container. A lost "
            "ledger is a fresh start: what is older than 7 days would be counted twice.",
        )
    return ok(f"{where}: a volume, in what looks like a container ({sign}); see that it outlives it")


def people(site: Site) -> Finding:
    """The lists and tables of people that the mapping names; without them nothing is sent."""
    mapping, access = site.settings.mapping, site.settings.source.access()
    seen, is_copied = [], False
    if mapping.privacy.suppress:
        check_suppression(mapping.privacy.suppress, access)
        seen.append(f"the suppress list {mapping.privacy.suppress} can be read")
        is_copied = True
    if mapping.identity.lookup is not None:
        # Only its beginning: a whole table would be copied, which takes minutes.
        table = locate("look-up table", mapping.identity.lookup.uri, access)
        is_copied |= not is_sqlite(table.beginning()) or table.path is None
        seen.append(f"the look-up table {mapping.identity.lookup.uri} can be opened")
    if is_copied and not is_writable(folder := existing(cache_folder())):
        return fail(
            f"{folder} can't be written: the copies of lists and tables of people go there",
            "Set XDG_CACHE_HOME to a folder that the user who runs the job may write to.",
        )
    return ok("; ".join(seen)) if seen else skipped("the mapping names no list and no table")


def places(site: Site) -> Finding:
    """Source, state and quarantine have to lie apart: each is listed, and takes all below it for its own."""
    source, state, quarantine = (
        (name, getattr(site.settings, name).uri) for name in ("source", "state", "quarantine")
    )
    for (name, uri), (of, other) in ((state, source), (quarantine, source), (quarantine, state)):
        if lies_below(uri, other):
            return warn(
                f"the {name} {uri} lies below the {of} {other}",
                f"Move it to a place of its own ({name}.uri): the {of} is listed down to it, and what cleans "
                "up or expires the one takes the other along.",
            )
    return ok("source, state and quarantine lie apart")


def _places(settings: Settings) -> list[Path]:
    ledger, quarantine = parse_ledger(settings.state.uri), parse_uri(settings.quarantine.uri)
    folders = (ledger.parent if isinstance(ledger, Path) else ledger, quarantine)
    return [folder for folder in folders if isinstance(folder, Path)]


CHECKS: Final = (
    Check("config", config),
    Check("environment", environment),
    Check("versions", versions),
    Check("disk", disk, reads=("state", "quarantine")),
    Check("container", container, reads=("state",)),
    Check("places", places, reads=("source.uri", "state.uri", "quarantine.uri")),
    Check("mapping.people", people, reads=("mapping", "source")),
)
