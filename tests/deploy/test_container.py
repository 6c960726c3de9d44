"""The program as a container has it: process 1, on a root file system that is only read.

No container is started: namespaces of the kernel stand for one.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.deploy.dockerfile import environment
from tests.deploy.manifests import skip_without
from tests.faults.processes import wait_until
from tests.workplace import Workplace, balanced, ended

_EMAILS: dict[str, Any] = {"hours": 1, "event_types": ("users.messages.email.*",), "duplicates": 0}


@pytest.fixture
def alone() -> list[str]:
    """The beginning of a command line that makes the rest of it process 1 of a namespace of its own."""
    return namespace("--pid", "--fork", "--kill-child", "--mount-proc")


def test_process_1_delivers_and_ends(workplace: Workplace, alone: list[str]) -> None:
    written = workplace.export(events=300, **_EMAILS)
    result = ended(workplace.start(command=[*alone, *workplace.command("run", "--output", "json")]))
    assert result.code == 0, result.err
    assert workplace.accepted_ids() == written.must_arrive()


def test_process_1_stops_cleanly_at_sigterm(workplace: Workplace, alone: list[str]) -> None:
    workplace.export(events=2000, records_per_file=50, **_EMAILS)
    workplace.configure(amplitude={"max_events": 50, "concurrency": 2})
    workplace.inject("- when: {after: 1}\n  do: {delay: 0.4}")
    process = workplace.start(command=[*alone, *workplace.command("run", "--output", "json")])
    wait_until(lambda: workplace.amplitude.stats()["events_held"] > 200, "events arrive")
    os.kill(first_child(process.pid), signal.SIGTERM)
    result = ended(process)
    assert result.code == 143, result
    assert balanced(result.json)["events"]["accepted"] == len(workplace.accepted_ids())


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder for temporary files whose name is short: sockets lie there, and have 107 bytes a path."""
    with TemporaryDirectory(prefix="ro-") as folder:
        yield Path(folder)


def test_nothing_but_tmp_is_written_to_when_the_state_lies_in_s3(
    workplace: Workplace, bucket: Any, short: Path
) -> None:
    written = workplace.export(events=300, awkward=0.1, **_EMAILS)
    access = {"endpoint_url": bucket.endpoint_url}
    workplace.configure(
        state={"uri": f"{bucket.uri}/ledger", **access}, quarantine={"uri": f"{bucket.uri}/aside", **access}
    )
    command = read_only(workplace.folder, short, workplace.command("run", "--output", "json"))
    result = ended(workplace.start(command=command, **image(short)))
    assert result.code == 3, result
    assert workplace.accepted_ids() == written.must_arrive()


def test_a_table_of_identities_is_copied_to_tmp(workplace: Workplace, bucket: Any, short: Path) -> None:
    workplace.export(events=300, **_EMAILS)
    (workplace.folder / "ids.csv").write_text("64d2f0c1a2b3c4d5e6f70819,customer-1\n")
    access = {"endpoint_url": bucket.endpoint_url}
    workplace.configure(
        state={"uri": f"{bucket.uri}/ledger", **access},
        quarantine={"uri": f"{bucket.uri}/aside", **access},
        mapping={"identity": {"lookup": {"uri": "ids.csv", "key": "user_id"}}},
    )
    command = read_only(workplace.folder, short, workplace.command("run", "--output", "json"))
    result = ended(workplace.start(command=command, **image(short)))
    assert result.code == 0, result
    assert workplace.accepted_ids()


def image(tmp: Path) -> dict[str, str]:
    """What the program's environment says in the image, where *tmp* stands for /tmp."""
    given = {name: value for name, value in environment().items() if value.startswith("/tmp/")}
    moved = {name: value.replace("/tmp", str(tmp), 1) for name, value in given.items()}
    return {"TMPDIR": str(tmp), "HOME": "/nonexistent", **moved}


def read_only(folder: Path, tmp: Path, command: list[str]) -> list[str]:
    """The command on a root file system that is only read, with *tmp* alone to write to."""
    mounts = f"mount -t tmpfs none {shlex.quote(str(tmp))} && mount -o remount,bind,ro /"
    closed = f"! touch {shlex.quote(f'{folder}/written')} 2>/dev/null"
    start = namespace("--mount")
    if subprocess.run(
        [*start, "sh", "-c", f"{mounts} && {closed}"], capture_output=True, check=False
    ).returncode:
        pytest.skip("the root file system can't be closed here")
    return [*start, "sh", "-c", f"{mounts} && exec {shlex.join(command)}"]


def namespace(*options: str) -> list[str]:
    """`unshare` with these options; skips where it may not be used."""
    skip_without("unshare")
    command = ["unshare", *options, "--"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may make no namespaces")
    return command


def first_child(pid: int) -> int:
    """The process that `unshare` started, by its number outside."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
