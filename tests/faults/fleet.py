"""A workplace whose work machines carry out: files in S3, a cluster of Dask, an Amplitude over HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import boto3

from braze_etl.clock import SystemClock
from braze_etl.flows.currents_to_amplitude.settings import load_config
from braze_etl.state.ledger import LedgerMissingError, SettledFile
from braze_etl.state.opening import open_ledger
from tests.cluster import DaskCluster, dask_at_work
from tests.faults.processes import wait_until
from tests.s3_server import Bucket, new_bucket
from tests.workplace import KEY, Result, Workplace, Written, balanced, ended, open_workplace

SOME_TIME = datetime(2026, 1, 1, tzinfo=UTC)
ENVIRON = {"AMPLITUDE_API_KEY": KEY}
_BATCH = 100
_NOTHING: Mapping[str, str] = MappingProxyType({})
_EXPORT = {
    "events": 8000,
    "hours": 1,
    "duplicates": 0,
    "awkward": 0.01,
    "event_types": ("users.messages.email.*",),
    "records_per_file": 1000,
}
"""Files of such a size that each machine has several tasks."""


@dataclass
class Fleet:
    """A workplace, the bucket with its files and its quarantine, and the cluster."""

    place: Workplace
    bucket: Bucket
    cluster: DaskCluster

    def export(self, **spec: Any) -> Written:
        """Generate an export into the bucket."""
        written = self.place.export(**{**_EXPORT, **spec})
        client = boto3.client("s3", endpoint_url=self.bucket.endpoint_url)
        for path in self.place.files():
            key = f"in/{path.relative_to(self.place.source).as_posix()}"
            client.upload_file(str(path), self.bucket.name, key)
        self.configure()
        return written

    def configure(self, **sections: Any) -> None:
        """Write the configuration, with the cluster as its workers unless *sections* say otherwise."""
        amplitude = {"api_key": "${AMPLITUDE_API_KEY}", "max_events": _BATCH, "give_up_after": "10s"}
        self.place.configure(
            **{
                "source": {"uri": f"{self.bucket.uri}/in", "endpoint_url": self.bucket.endpoint_url},
                "quarantine": {"uri": f"{self.bucket.uri}/quarantine"},
                "workers": self.cluster.uri,
                **sections,
                "amplitude": {**amplitude, **sections.get("amplitude", {})},
            }
        )

    def add_machines(self, *environs: dict[str, str], processes: int = 1) -> None:
        """Start a machine with each of these environments."""
        for environ in environs:
            self.cluster.add_worker({**ENVIRON, **environ}, processes=processes)

    def start(self, *arguments: str, environ: Mapping[str, str] = _NOTHING) -> Any:
        """Start `braze-etl run`, or with *arguments* another command, with reports for machines."""
        whole = {**ENVIRON, **environ}
        return self.place.start(*(arguments or ("run",)), "--output", "json", command=None, **whole)

    def run(self, *options: str, environ: Mapping[str, str] = _NOTHING) -> Result:
        """Run to the end."""
        result = ended(self.start("run", *options, environ=environ))
        balanced(result.json)
        return result

    def wait_for_events(self, events: int = 200) -> None:
        """Wait until Amplitude holds so many."""
        wait_until(lambda: self.held >= events, f"{events} events arrive")

    @property
    def held(self) -> int:
        """How many events Amplitude holds."""
        held: int = self.place.amplitude.stats()["events_held"]
        return held

    @property
    def repeats(self) -> int:
        """How many events Amplitude was sent that it held already."""
        repeats: int = self.place.amplitude.stats()["duplicates"]
        return repeats

    def in_flight(self) -> int:
        """How many events Amplitude was sent, or is being sent, that the ledger does not know as accepted."""
        settled = sum(known.tally.accepted for _, known, _ in self.books())
        stats = self.place.amplitude.stats()
        return int(stats["events_received"] + stats["in_flight"] * _BATCH - settled)

    def is_quiet(self) -> bool:
        """Whether no request is under way."""
        return bool(self.place.amplitude.stats()["in_flight"] == 0)

    def books(self) -> list[tuple[str, Any, Any]]:
        """What the ledger says of each file, but for times and runs."""
        settings = load_config(self.place.folder / "config.yaml", ENVIRON).settings
        uri = f"sqlite:///{self.place.ledger}"
        try:
            ledger = open_ledger(uri, settings.identity, clock=SystemClock(), read_only=True)
        except LedgerMissingError:
            return []
        with closing(ledger):
            files = [each for each in ledger.contents().files if isinstance(each, SettledFile)]
        return sorted(
            (
                each.ref.key,
                replace(each.known, settled_at=SOME_TIME, run_id="", sent_from=None, sent_to=None, etag=""),
                each.open,
            )
            for each in files
        )

    def set_aside(self) -> list[tuple[str, str]]:
        """Where each quarantined record lies, and why it is there."""
        entries = self.place.do("quarantine", "list", "--limit", "1000", "--output", "json", **ENVIRON).json[
            "entries"
        ]
        return sorted(
            (f"{entry['key']}#{entry['block']}#{entry['record']}", entry["reason"]) for entry in entries
        )


@contextmanager
def open_fleet(folder: Path, s3_url: str, environ: Mapping[str, str] = _NOTHING) -> Iterator[Fleet]:
    """A fleet without machines in *folder*; what it runs ends with the block. *environ* is of the cluster."""
    cluster_folder, place_folder = folder / "cluster", folder / "place"
    cluster_folder.mkdir()
    place_folder.mkdir()
    with open_workplace(place_folder) as place, dask_at_work(cluster_folder, environ=environ) as cluster:
        yield Fleet(place, new_bucket(s3_url), cluster)
