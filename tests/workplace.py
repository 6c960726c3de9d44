"""The whole program as its users have it: a process, real files or a real S3, a real Amplitude over HTTP."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from braze_etl.sandbox.amplitude.project import Project
from braze_etl.sandbox.faults import Faults, parse_faults
from braze_etl.sandbox.server import SandboxServer
from fixtures.generate import ExportSpec, ExportSummary, generate
from tests.warm import can_be_forked, carry_out

KEY = "0123456789abcdef0123456789abcdef"
_GUARD = 100.0


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

    @property
    def error(self) -> dict[str, str]:
        """What a failed command says for machines: its type, message and remedy."""
        error: dict[str, str] = self.json["error"]
        return error


@dataclass
class Workplace:
    """A folder with a configuration, and the commands run in it."""

    folder: Path
    amplitude: SandboxServer
    project: Project
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def source(self) -> Path:
        return self.folder / "export"

    @property
    def ledger(self) -> Path:
        return self.folder / "state/braze-etl.db"

    def inject(self, script: str) -> None:
        """Have Amplitude do this wrong from now on: the text of a fault script (`sandbox.faults`)."""
        self.amplitude.faults = parse_faults(script)

    def recover(self) -> None:
        """Have Amplitude do nothing wrong any more."""
        self.amplitude.faults = Faults()

    def become(self, project: Project) -> None:
        """Put another project behind the same address."""
        self.project = self.amplitude.project = project

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

    def start(
        self, *arguments: str, command: list[str] | None = None, **environ: str
    ) -> subprocess.Popen[str]:
        """Start a command in the folder, in a process group of its own; *command* is a whole command line."""
        process = subprocess.Popen(
            command or self.command(*arguments),
            cwd=self.folder,
            env=self._environ(environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def clear(self) -> None:
        """End what a failed test left running."""
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()

    def do(self, *arguments: str, **environ: str) -> Result:
        """Run a command to its end."""
        whole = self._environ(environ)
        if not can_be_forked(whole):
            return ended(self.start(*arguments, command=None, **environ))
        return _result(*carry_out([*arguments], self.folder, whole, _GUARD))

    def _environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        return {**os.environ, "BRAZE_ETL_CONFIG": "config.yaml", **environ}

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

    def files(self) -> list[Path]:
        """The files of the export, in the order of their keys."""
        return sorted(self.source.rglob("*.avro"))

    def let_waits_pass(self) -> None:
        """Move every open record's earliest time into the past, as if the hours had gone by."""
        with closing(sqlite3.connect(self.ledger)) as connection, connection:
            connection.execute("UPDATE files SET not_before = 0 WHERE not_before IS NOT NULL")
            connection.execute("UPDATE open_positions SET not_before = 0")


def ended(process: subprocess.Popen[str]) -> Result:
    """Wait for a command to end; no command ever shows a traceback."""
    out, err = process.communicate(timeout=_GUARD)
    return _result(process.returncode, out, err)


def _result(code: int, out: str, err: str) -> Result:
    assert "Traceback" not in err, err
    return Result(code, out, err)


@contextmanager
def open_workplace(folder: Path) -> Iterator[Workplace]:
    """A configured workplace in *folder*, with an Amplitude that is up for the length of the block."""
    project = Project(api_key=KEY)
    with SandboxServer(project) as server:
        place = Workplace(folder, server, project)
        place.configure()
        try:
            yield place
        finally:
            place.clear()


@dataclass(frozen=True)
class Written:
    """What the generator wrote: its summary, and a line for each record."""

    summary: ExportSummary
    records: Sequence[dict[str, Any]]

    def must_arrive(self, records: Sequence[dict[str, Any]] | None = None) -> list[str]:
        """Ids of the records that Amplitude must hold in the end, worked out from the facts of each."""
        chosen = self.records if records is None else records
        return sorted({record["id"] for record in chosen if is_to_be_sent(record)})

    def where(self, wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """The records for which *wanted* holds."""
        return [record for record in self.records if wanted(record)]


_LEFT_OUT = ("agentconsole.", "contentoptimizer.", "users.profile.Update", "users.User", "users.RandomBucket")


def is_to_be_sent(record: dict[str, Any]) -> bool:
    """Whether Amplitude must hold the record of this line in the end."""
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
