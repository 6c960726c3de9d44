"""Archived files are left alone and counted, and the command that restores them is written out."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from braze_etl.clock import ManualClock
from braze_etl.engine.worklists.listed import DueFiles, restore_command
from braze_etl.model import FileRef, FileSettlement, FileState, Tally
from braze_etl.state.ledger import Backlog, BacklogLine, LedgerIdentity
from braze_etl.state.sqlite import SqliteLedger


def test_an_archived_file_is_not_due_and_counts_only_while_it_is_undelivered(
    make_ref: Callable[..., FileRef], now: datetime
) -> None:
    ledger = SqliteLedger.in_memory(LedgerIdentity("p", "default", "US"), clock=ManualClock(now))
    delivered, waiting, plain = (make_ref(name, size=10) for name in ("a", "b", "c"))
    ledger.settle("r1", [FileSettlement(delivered, FileState.DONE, Tally(accepted=1))], Backlog())
    listed = [replace(delivered, archived=True), replace(waiting, archived=True), plain]
    found = DueFiles(listed, ledger, now=now)
    assert [due.ref.key for due in found] == [plain.key]
    assert found.archived == BacklogLine(1, 10)
    restored = DueFiles([waiting], ledger, now=now)
    assert [due.ref.key for due in restored] == [waiting.key]


def test_the_command_names_bucket_and_prefix_and_is_one_for_a_shell() -> None:
    command = restore_command("s3://acme-currents/currents", BacklogLine(3, 30))
    assert command is not None
    words = shlex.split(command)
    assert words[:3] == ["aws", "s3api", "list-objects-v2"]
    assert words[words.index("--bucket") + 1] == "acme-currents"
    assert words[words.index("--prefix") + 1] == "currents/"
    assert "restore-object" in words
    assert restore_command("s3://acme/currents", BacklogLine()) is None
    assert restore_command("export", BacklogLine(3, 30)) is None
