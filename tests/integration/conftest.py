"""The whole program as its users have it: a process, real files or a real S3, a real Amplitude over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from braze_etl.sandbox import Faults, Project, SandboxServer
from fixtures.generate import ExportSpec, ExportSummary, generate

KEY = "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        value: dict[str, Any] = json.loads(self.out)
        return value


@dataclass
class Workplace:
    """A folder with a configuration, and the commands run in it."""

    folder: Path
    amplitude: SandboxServer
    project: Project

    @property
    def source(self) -> Path:
        return self.folder / "export"

    def configure(self, **sections: Any) -> None:
        """Write the configuration, with *sections* laid over the plainest one."""
        plain: dict[str, Any] = {
            "source": {"uri": "export", "start_at": "2026-10-01"},
            "amplitude": {"region": "US", "api_key": KEY, "endpoint": self.amplitude.url},
            "workers": 2,
        }
        for name, section in sections.items():
            plain[name] = {**plain.get(name, {}), **section} if isinstance(section, dict) else section
        (self.folder / "config.yaml").write_text(yaml.safe_dump(plain))

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "braze_etl", *arguments]

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """Start a command in the folder."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env={**os.environ, "BRAZE_ETL_CONFIG": "config.yaml", **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def do(self, *arguments: str, **environ: str) -> Result:
        """Run a command to its end."""
        process = self.start(*arguments, **environ)
        out, err = process.communicate(timeout=100)
        assert "Traceback" not in err, err
        return Result(process.returncode, out, err)

    def run(self, *arguments: str) -> dict[str, Any]:
        """`braze-etl run --output json`; the report, checked for its balance."""
        return balanced(self.do("run", "--output", "json", *arguments).json)

    def accepted_ids(self) -> list[str]:
        """The insert_ids that Amplitude would now hold."""
        return sorted(event["insert_id"] for event in self.project.events())

    def export(self, **spec: Any) -> Written:
        """Generate an export into the source folder."""
        ids = self.folder / "ids.ndjson"
        summary = generate(self.source, ExportSpec(**{"hours": 3, **spec}, ids_out=ids))
        return Written(summary, [json.loads(line) for line in ids.read_text().splitlines()])


@dataclass(frozen=True)
class Written:
    """What the generator wrote: its summary, and a line for each record."""

    summary: ExportSummary
    records: Sequence[dict[str, Any]]

    def must_arrive(self, records: Sequence[dict[str, Any]] | None = None) -> list[str]:
        """Ids of the records that Amplitude must hold in the end, worked out from the facts of each."""
        chosen = self.records if records is None else records
        return sorted({record["id"] for record in chosen if _is_to_be_sent(record)})


_LEFT_OUT = ("agentconsole.", "contentoptimizer.", "users.profile.Update", "users.User", "users.RandomBucket")


def _is_to_be_sent(record: dict[str, Any]) -> bool:
    has_identity = bool(record["external_user_id"] or record["device_id"])
    return has_identity and not record.get("awkward") and not record["event_type"].startswith(_LEFT_OUT)


def balanced(report: dict[str, Any]) -> dict[str, Any]:
    """Check that the books of a run report balance, everywhere."""
    for books in [report["events"], *report["by_event_type"].values()]:
        assert books["read"] == sum(
            books[part] for part in ("accepted", "filtered", "quarantined", "deferred")
        )
    events, files = report["events"], report["files"]
    assert events["read"] == sum(books["read"] for books in report["by_event_type"].values())
    assert sum(report["reasons"].values()) == events["read"] - events["accepted"]
    assert files["discovered"] == files["done"] + files["failed"] + files["remaining"]
    return report


@pytest.fixture
def faults() -> Faults | None:
    """What Amplitude does wrong; a test lays its own script over this."""
    return None


@pytest.fixture
def workplace(tmp_path: Path, faults: Faults | None) -> Iterator[Workplace]:
    project = Project(api_key=KEY)
    with SandboxServer(project, faults=faults) as server:
        place = Workplace(tmp_path, server, project)
        place.configure()
        yield place


@pytest.fixture
def balance() -> Callable[[dict[str, Any]], dict[str, Any]]:
    return balanced
