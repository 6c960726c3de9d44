"""Discovery: everything that is due at the start of a pass, in order, without holding it in memory."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import IO, Self

from braze_etl.errors import StoreError
from braze_etl.run.backlog import BacklogTally
from braze_etl.run.due import DueFile

_IN_MEMORY = 4_000_000
"""Bytes; a longer backlog (about 20,000 files) goes on in a temporary file."""


class Discovery:
    """Takes the due files once, and gives them back for the tasks; use as a context manager.

    `error` is what broke the listing off: what was found is delivered all the same, and the pass fails.
    `complete` is whether everything due was found.
    """

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0
        self.backlog = BacklogTally()
        self.error: StoreError | None = None
        self.complete = False
        self._spooled = 0
        self._spool: IO[bytes] = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - see __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spool.close()

    def collect(self, due: Iterable[DueFile], should_stop: Callable[[], bool] = lambda: False) -> None:
        """Take all due files, in their order, unless it is time to stop."""
        try:
            for file in due:
                if should_stop():
                    return
                self.files += 1
                self.bytes += file.ref.size
                self.backlog.discovered(file.ref)
                if file.ready:
                    pickle.dump(file, self._spool)
                    self._spooled += 1
            self.complete = True
        except StoreError as error:
            self.error = error

    def due_files(self) -> Iterator[DueFile]:
        """Give the collected files back, lazily."""
        self._spool.seek(0)
        for _ in range(self._spooled):
            file: DueFile = pickle.load(self._spool)  # noqa: S301 - our own anonymous file
            yield file
