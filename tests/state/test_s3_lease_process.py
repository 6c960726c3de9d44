from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from braze_etl.state.s3.lease import ProcessTable

linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system has no /proc")


def test_a_process_that_runs_is_not_dead() -> None:
    here = ProcessTable.here()
    assert not here.knows_dead(here.me())


@linux
def test_a_later_process_with_the_same_number_is_another() -> None:
    here = ProcessTable.here()
    assert here.knows_dead(replace(here.me(), start="1"))


@linux
def test_a_process_that_ended_is_dead_also_while_its_parent_has_not_noticed() -> None:
    here = ProcessTable.here()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    start = here._start(child.pid)
    assert start is not None
    process = replace(here.me(), pid=child.pid, start=start)
    assert not here.knows_dead(process)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert here.knows_dead(process)
    child.communicate()
    assert here.knows_dead(process)


def test_what_ran_elsewhere_or_before_a_reboot_or_in_another_container_can_not_be_known() -> None:
    here = ProcessTable.here()
    me = here.me()
    for process in (
        replace(me, host="elsewhere"),
        replace(me, boot="before"),
        replace(me, space="a container"),
    ):
        assert not here.knows_dead(replace(process, start="1"))


def test_names_with_brackets_and_spaces_do_not_mislead(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    fields = " ".join(["S", *map(str, range(4, 22)), "4242", "23"])
    (tmp_path / "7/stat").write_text(f"7 (a) b c) {fields}")
    assert ProcessTable("host", tmp_path)._start(7) == "4242"


def test_without_proc_only_a_number_that_nobody_has_is_dead(tmp_path: Path) -> None:
    machine = ProcessTable("host", tmp_path)
    me = machine.me()
    assert (me.boot, me.start) == ("", "")
    assert not machine.knows_dead(me)
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert machine.knows_dead(replace(me, pid=child.pid))
