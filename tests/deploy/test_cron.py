"""configs/cron/: the script in the poor environment that cron gives it, and under a real cron daemon."""

from __future__ import annotations

import contextlib
import getpass
import itertools
import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cronsim import CronSim

from braze_etl.cli import cli
from braze_etl.clock import parse_duration
from braze_etl.flows.currents_to_amplitude.settings import load_config
from braze_etl.sandbox.amplitude.project import Project
from braze_etl.sandbox.amplitude.read_api import ReadOptions
from tests.deploy.crontab import CRON, CRONTAB, LINE, SCRIPT, Machine
from tests.deploy.manifests import ROOT, longest_stop, skip_without
from tests.faults.processes import started_by, wait_until
from tests.workplace import KEY, Result, Workplace, balanced, ended

_PAGE = (ROOT / "docs/deployment.md").read_text()
_EMAILS: dict[str, Any] = {"hours": 1, "event_types": ("users.messages.email.*",), "duplicates": 0}
_RANGE = ("--from", "2026-10-01", "--to", "2026-10-02", "--settle", "0s")
_POOR = {"HOME": "/", "LOGNAME": "root", "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}


@pytest.fixture
def machine(workplace: Workplace) -> Machine:
    """A machine with the pieces installed, in the folder of a workplace with something to deliver."""
    workplace.export(events=200, **_EMAILS)
    machine = Machine(workplace.folder)
    machine.install(AMPLITUDE_API_KEY=KEY)
    return machine


def as_cron_would(machine: Machine, *arguments: str) -> Result:
    return shell(machine, shlex.join([str(machine.script), *arguments]))


def shell(machine: Machine, line: str, path: str = _POOR["PATH"]) -> Result:
    """Do a line of the crontab."""
    done = subprocess.run(
        ["sh", "-c", line],
        cwd="/",
        env={**_POOR, "PATH": path, "BRAZE_ETL_ENVIRONMENT": str(machine.environment)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def test_a_good_run_delivers_logs_and_says_nothing(workplace: Workplace, machine: Machine) -> None:
    assert as_cron_would(machine) == Result(0, "", "")
    (report,) = reports(machine)
    assert report["events"]["accepted"] == len(workplace.accepted_ids()) > 0


def test_the_log_of_the_next_run_is_added(machine: Machine) -> None:
    as_cron_would(machine)
    before = machine.log.read_text()
    as_cron_would(machine)
    assert machine.log.read_text().startswith(before)


def test_work_that_is_left_and_what_was_set_aside_are_no_failures(machine: Machine) -> None:
    program = machine.folder / "program"
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    machine.install(BRAZE_ETL_PROGRAM=str(program))
    assert as_cron_would(machine).code == 0
    assert "run --max-runtime 7m --ok-exit 3,4 " in machine.log.read_text()


def test_a_first_run_that_is_larger_than_expected_is_confirmed_by_the_same_script(
    workplace: Workplace, machine: Machine
) -> None:
    workplace.configure(budget={"first_run_events": 10})
    assert as_cron_would(machine).code == 2
    assert "--confirm-first-run" in machine.log.read_text()
    assert as_cron_would(machine, "--confirm-first-run") == Result(0, "", "")
    assert workplace.accepted_ids()


def test_a_run_that_is_ended_from_outside_stops_cleanly_and_tells_what_it_did(
    workplace: Workplace,
) -> None:
    """`timeout` signals its child and then the whole group: a run must not take that for a second signal.

    Its time is over once something has arrived: SIGALRM is how it learns of that.
    """
    workplace.export(events=4000, records_per_file=50, **_EMAILS)
    workplace.configure(amplitude={"max_events": 50, "concurrency": 2})
    workplace.inject("- when: {after: 1}\n  do: {delay: 0.4}")
    machine = Machine(workplace.folder)
    machine.install()
    environ = {**_POOR, "BRAZE_ETL_ENVIRONMENT": str(machine.environment)}
    process = workplace.start(command=["env", "-i", *map("=".join, environ.items()), str(machine.script)])
    wait_until(lambda: any(workplace.project.events()), "something has arrived")
    os.kill(started_by(process.pid, "timeout"), signal.SIGALRM)
    result = ended(process)
    assert (result.code, result.out) == (143, "")
    assert "the run ended with exit code 143" in result.err
    (report,) = reports(machine)
    assert report["exit_code"] == 143
    assert balanced(report)["events"]["accepted"] == len(workplace.accepted_ids()) > 0
    assert report["files"]["remaining"] > 0


def test_a_daily_verification_is_quiet_unless_something_is_missing(
    workplace: Workplace, machine: Machine
) -> None:
    workplace.become(Project(api_key=KEY, reads=ReadOptions(export_delay=0)))
    workplace.configure(amplitude={"secret_key": "fedcba98" * 4, "read_endpoint": workplace.amplitude.url})
    as_cron_would(machine)
    assert as_cron_would(machine, "verify", *_RANGE) == Result(0, "", "")
    workplace.project.reset()
    others = {"event_type": "other", "user_id": "somebody", "insert_id": "other"}  # so its hour is loaded
    workplace.project.ingest("/batch", json.dumps({"api_key": KEY, "events": [others]}).encode())
    result = as_cron_would(machine, "verify", *_RANGE)
    assert (result.code, result.out) == (6, "")
    assert "the verification ended with exit code 6" in result.err
    (line,) = re.findall(r"^# (.*braze-etl-cron verify)$", CRONTAB.read_text(), re.MULTILINE)
    assert LINE.fullmatch(line)


def test_with_the_recipe_for_syslog_a_failure_is_mailed_all_the_same(machine: Machine) -> None:
    (recipe,) = re.findall(r"end the line\s+of the crontab with `([^`]+)`", _PAGE)
    (machine.folder / "logger").write_text(f"#!/bin/sh\ncat > '{machine.folder}/syslog'\n")
    (machine.folder / "logger").chmod(0o755)
    (machine.folder / "config.yaml").write_text("pipeline: production\n")
    machine.install(BRAZE_ETL_LOG="/dev/stdout")
    result = shell(machine, f"'{machine.script}' {recipe}", f"{machine.folder}:{_POOR['PATH']}")
    assert result.out == ""
    assert "the run ended with exit code 2" in result.err
    assert "amplitude" in (machine.folder / "syslog").read_text()


def test_a_failure_is_told_in_one_line_that_cron_mails(machine: Machine) -> None:
    (machine.folder / "config.yaml").write_text("pipeline: production\n")
    result = as_cron_would(machine)
    assert result.code == 2
    assert re.fullmatch(r"braze-etl on \S+: the run ended with exit code 2; see the end of .*\n", result.err)
    assert "amplitude" in machine.log.read_text()


def test_any_other_command_is_given_with_the_environment_of_the_job(machine: Machine) -> None:
    as_cron_would(machine)
    (line,) = re.findall(r"^runuser -u braze-etl -- (sh -c .*) status$", _PAGE, re.MULTILINE)
    for there, here in {
        "/etc/braze-etl/environment": str(machine.environment),
        "/var/lib/braze-etl": str(machine.folder),
        "/opt/braze-etl/bin/braze-etl": str(machine.program),
    }.items():
        line = line.replace(there, here)
    result = shell(machine, f"{line} status --output json")
    assert result.json["backlog"]["files"] == 0


def test_an_environment_that_others_can_read_is_refused(machine: Machine) -> None:
    machine.environment.chmod(0o640)
    result = as_cron_would(machine)
    assert result.code == 2
    assert f"chmod 0600 {machine.environment}" in result.err
    assert not machine.log.exists()


def test_an_environment_that_is_not_there_is_told(machine: Machine) -> None:
    machine.environment.unlink()
    result = as_cron_would(machine)
    assert (result.code, "can't be read" in result.err) == (2, True)


def test_the_true_exit_code_passes_the_time_out(machine: Machine) -> None:
    program = machine.folder / "stopped"
    program.write_text("#!/bin/sh\nexit 143\n")
    program.chmod(0o755)
    machine.install(BRAZE_ETL_PROGRAM=str(program))
    assert as_cron_would(machine).code == 143


def test_a_run_stops_is_ended_and_is_killed_before_the_next_begins() -> None:
    match = re.search(
        r"--kill-after=(\d+s) (\d+m) .*--max-runtime (\d+m)", SCRIPT.read_text().replace("\\\n", "")
    )
    assert match is not None
    kill_after, time_out, max_runtime = map(parse_duration, match.groups())
    settings = load_config(CRON / "braze-etl.yaml").settings
    assert kill_after > longest_stop(settings)
    assert max_runtime + timedelta(seconds=30) < time_out
    assert time_out + kill_after < shortest_pause()


def shortest_pause() -> timedelta:
    line = LINE.search(CRONTAB.read_text())
    assert line is not None
    starts = itertools.islice(CronSim(line["when"].strip(), datetime(2026, 2, 27, tzinfo=UTC)), 100)
    return min(later - earlier for earlier, later in itertools.pairwise(starts))


def test_the_script_is_a_sound_program_of_a_plain_shell() -> None:
    assert os.access(SCRIPT, os.X_OK)
    assert subprocess.run(["sh", "-n", SCRIPT], check=False).returncode == 0


def test_the_configuration_passes_its_check() -> None:
    result = CliRunner().invoke(cli, ["config", "check", "-c", str(CRON / "braze-etl.yaml")])
    assert "is valid" in result.output
    given = re.findall(r"^(?:# )?(\w+)=", (CRON / "environment").read_text(), re.MULTILINE)
    named = re.findall(r"\$\{(\w+)", (CRON / "braze-etl.yaml").read_text())
    assert set(named) <= set(given)


def test_logrotate_takes_its_file(tmp_path: Path) -> None:
    skip_without("logrotate")
    (tmp_path / "run.log").write_text("a line\n")
    user = getpass.getuser()
    text = (CRON / "logrotate").read_text().replace("/var/log/braze-etl", str(tmp_path))
    file = tmp_path / "rules"
    file.write_text(text.replace("braze-etl braze-etl", f"{user} {user}"))
    file.chmod(0o644)
    state = ["--state", str(tmp_path / "state")]
    done = subprocess.run(["logrotate", "-f", *state, file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "run.log.1").read_text() == "a line\n"


def test_a_real_cron_daemon_runs_it(workplace: Workplace, machine: Machine) -> None:
    with cron_daemon(machine):
        wait_until(lambda: bool(reports(machine)), "cron has run it")
    (first, *_) = reports(machine)
    assert first["exit_code"] == 0
    assert first["events"]["accepted"] == len(workplace.accepted_ids()) > 0


def reports(machine: Machine) -> list[dict[str, Any]]:
    """The run reports in the log: lines of JSON, between those of the log, which have a message."""
    lines = machine.log.read_text().splitlines() if machine.log.exists() else []
    # Cron's daemon is looked at while it writes: a last line may be half there.
    objects = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
    return [each for each in objects if "run_id" in each and "message" not in each]


@contextlib.contextmanager
def cron_daemon(machine: Machine) -> Iterator[None]:
    """Debian's cron with our crontab alone, in namespaces of its own, its clock 20 times as fast.

    What it starts has the machine's own clock: cron makes the environment of a job anew, without LD_PRELOAD.
    All of it ends with the block.
    """
    skip_without("cron", "faketime", "unshare")
    alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]
    view = " && ".join(mounts(machine))
    if subprocess.run([*alone, view], capture_output=True, check=False).returncode:
        pytest.skip("this user may not give cron a view of its own")
    with subprocess.Popen([*alone, f"{view} && exec faketime -f '+0 x20' cron -f"]) as daemon:
        try:
            yield
        finally:
            daemon.kill()


def mounts(machine: Machine) -> Iterator[str]:
    """The commands that hide the machine's own jobs from cron, and lay ours in their place."""
    jobs, nothing = machine.folder / "cron.d", machine.folder / "nothing"
    for folder in (jobs, nothing):
        folder.mkdir()
    (jobs / "braze-etl").write_text(machine.crontab(user=getpass.getuser()))
    yield f"mount --bind {shlex.quote(str(jobs))} /etc/cron.d"
    yield f"mount --bind {shlex.quote(str(nothing))} /var/spool/cron/crontabs"
    yield "mount --bind /dev/null /etc/crontab"
    yield "mount -t tmpfs none /run"  # another cron may hold the lock there
    yield "mount -t tmpfs none /dev/shm"  # faketime names what it keeps there by process numbers
