"""Copies of look-up tables in a form that can be searched: one for each version of a table, made once."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from braze_etl.errors import StoreError
from braze_etl.run.persons.located import Located
from braze_etl.telemetry import get_logger
from braze_etl.transform import LookupColumns, build_table, is_sqlite

_FORMAT: Final = "1"
"""Of the copies: a release that writes others makes them anew."""
_log = get_logger(__name__)


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """`$XDG_CACHE_HOME/braze_etl`, by default below `~/.cache`."""
    base = environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path("~/.cache").expanduser()) / "braze_etl"


@dataclass(frozen=True, slots=True)
class LookupCache:
    """The copies in one folder; they hold ids of people, and are for their owner's eyes."""

    folder: Path

    def of(self, table: Located, columns: LookupColumns) -> Path:
        """Give the SQLite file for a table, making a copy first if need be.

        A SQLite file on this machine is used as it is. A CSV is copied once for each size and modification
        time, an object in S3 once for each etag; the copy of an older version is removed. Processes that
        want the same copy at once wait for the first. `ConfigError` for what is wrong with the table,
        `StoreError` for the disk and the store.
        """
        if table.path is not None and is_sqlite(table.beginning()):
            return table.path
        version = table.version()
        copy = self.folder / f"{_name(table, columns)}-{_short(version)}.sqlite"
        with self._alone(_name(table, columns)):
            if not copy.exists():
                self._make(table, version, columns, copy)
        return copy

    def copies(self, table: Located, columns: LookupColumns) -> list[Path]:
        """The copies of a table with these columns that are there, of whatever version."""
        return sorted(self.folder.glob(f"{_name(table, columns)}-*.sqlite"))

    def _make(self, table: Located, version: str, columns: LookupColumns, copy: Path) -> None:
        began = time.monotonic()
        _log.info("the look-up table is new: a copy of it is made", table=table.uri, folder=str(self.folder))
        if table.path is not None:
            build_table(table.path, copy, columns)
        else:
            self._download(table, version, columns, copy)
        for other in self.copies(table, columns):
            if other != copy:
                other.unlink(missing_ok=True)  # who still reads it keeps it until the end
        seconds = round(time.monotonic() - began, 1)
        _log.info("the look-up table was copied", bytes=copy.stat().st_size, seconds=seconds)

    def _download(self, table: Located, version: str, columns: LookupColumns, copy: Path) -> None:
        part = copy.with_name(f".{copy.name}.{os.getpid()}.part")
        try:
            part.touch(0o600)
            with table.reading(version) as stream, part.open("wb") as file:
                shutil.copyfileobj(stream, file, 1 << 20)
            with part.open("rb") as file:
                whole = is_sqlite(file.read(100))
            if whole:
                part.replace(copy)
            else:
                build_table(part, copy, columns, name=table.uri)
        except OSError as error:
            raise self._no_room(error) from error
        finally:
            part.unlink(missing_ok=True)

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self.folder / f"{name}.lock").open("w")
        except OSError as error:
            raise self._no_room(error) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _no_room(self, error: OSError) -> StoreError:
        return StoreError(
            f"the copy of the look-up table can't be written to {self.folder}: {error.strerror}",
            remedy="Set XDG_CACHE_HOME to a folder with room that this user may write to.",
        )


def _name(table: Located, columns: LookupColumns) -> str:
    return _short(f"{_FORMAT}\0{table.uri}\0{columns}")


def _short(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]
