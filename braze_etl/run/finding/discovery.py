"""Discovery: everything that is due at the start of a pass, in order, without holding it in memory."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import IO, Self

from braze_etl.errors import StoreError
from braze_etl.run.finding.backlog import BacklogTally
from braze_etl.run.finding.due import DueFile

_IN_MEMORY = 4_000_000
"""Bytes; a longer backlog (about 20,000 files) goes on in a temporary file."""
_AT_ONCE = 500
"""Files pickled together: what they have in common is written once."""


class Discovery:
    """Takes due files, and gives each back once for the tasks; use as a context manager.

    `error` is what broke the listing off: what was found is delivered all the same, and the pass fails.
    `complete` is whether everything due was found; `waiting` counts files of which every record has to wait
    for their time.
    """

    def __init__(self) -> None:
        self.files = 0
        self.waiting = 0
        self.bytes = 0
        self.backlog = BacklogTally()
        self.error: StoreError | None = None
        self.complete = False
        self._spooled = 0
        self._given = 0
        self._given_up_to = 0
        self._spool: IO[bytes] = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - see __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spool.close()

    @property
    def pending(self) -> bool:
        """Whether there is a file for `due_files` to give that is ready to be worked on."""
        return self._given < self._spooled

    def collect(self, due: Iterable[DueFile], should_stop: Callable[[], bool] = lambda: False) -> None:
        """Take all due files, in their order, unless it is time to stop.

        *due* may also end by itself when it is.
        """
        ready = list[DueFile]()
        try:
            for file in due:
                if should_stop():
                    return
                self.files += 1
                self.bytes += file.ref.size
                self.backlog.discovered(file.ref)
                if file.ready:
                    ready.append(file)
                else:
                    self.waiting += 1
                if len(ready) == _AT_ONCE:
                    self._spool_all(ready)
            self.complete = not should_stop()
        except StoreError as error:
            self.error = error
        finally:
            self._spool_all(ready)

    def _spool_all(self, files: list[DueFile]) -> None:
        if files:
            self._spool.seek(0, os.SEEK_END)
            pickle.dump(files, self._spool)
            self._spooled += 1
            files.clear()

    def due_files(self) -> Iterator[DueFile]:
        """Give back, lazily, what was collected and has not been given yet."""
        while self.pending:
            self._spool.seek(self._given_up_to)
            files: list[DueFile] = pickle.load(self._spool)  # noqa: S301 - our own anonymous file
            self._given += 1
            self._given_up_to = self._spool.tell()
            yield from files
