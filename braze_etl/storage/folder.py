"""A folder as an object store: for local exports, tests, and a quarantine on a disk."""

from __future__ import annotations

import io
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from braze_etl.errors import AccessDeniedError, FileUnavailableError, SourceGoneError, StoreError
from braze_etl.storage.folder_walk import TEMPORARY_PREFIX, FoundFile, walk
from braze_etl.storage.store import Page, StoredObject

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def open_slice(file: io.FileIO, offset: int, length: int | None) -> BinaryIO:
    """Return a stream on *length* bytes (or all) of *file* from *offset*; closing it closes the file."""
    file.seek(offset)
    return io.BufferedReader(_Slice(file, length), 1 << 16)


def unavailable(name: str, error: OSError) -> FileUnavailableError:
    """The error for a file that the file system does not give."""
    return FileUnavailableError(
        f"{name} can't be read: {error.strerror}",
        remedy="check the disk or the network mount that holds it; the next run tries again",
    )


class _Slice(io.RawIOBase):
    def __init__(self, file: io.FileIO, length: int | None) -> None:
        super().__init__()
        self._file = file
        self._left = length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        if self._left is not None:
            view = view[: self._left]
        try:
            count = self._file.readinto(view) or 0
        except OSError as error:
            raise unavailable(str(self._file.name), error) from error
        if self._left is not None:
            self._left -= count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


_ROOT: Final = 0
_PRIVATE: Final = 0o600


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, unless they are there; `OSError` where that can't be done."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    # Somebody else may have made it meanwhile; a file in its place fails whatever comes next.
    with suppress(FileExistsError):
        folder.mkdir()
        _give_away(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW), folder.parent)


def make_file(path: Path) -> None:
    """Make an empty file for its owner's eyes unless one is there; `OSError` where that can't be done."""
    with suppress(FileExistsError):
        _give_away(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE), path.parent)


def close_to_others(path: Path) -> None:
    """Take from all but the owner what rights they have to a file: one of an older release, or a copy."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & ~stat.S_IRWXU:
        with suppress(PermissionError):  # another user's file is that user's business
            path.chmod(mode & stat.S_IRWXU)


def hand_over(descriptor: int, folder: Path) -> None:
    """Give what root has just made in *folder* to the owner and the group of that folder."""
    if os.geteuid() != _ROOT:
        return
    owner = folder.stat()
    # Root of a container or over a network may give nothing away: then the file stays what it is.
    with suppress(PermissionError):
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _give_away(descriptor: int, folder: Path) -> None:
    try:
        hand_over(descriptor, folder)
    finally:
        os.close(descriptor)


_PAGE_SIZE = 1000
_NO_NAMES = frozenset({"", ".", ".."})
_ALL = os.R_OK | os.W_OK | os.X_OK


class FolderStore:
    """The files below *root*; a key is the path below it, with `/` between its parts.

    An etag is size and modification time, both in hexadecimal. `put` writes a temporary file and renames it,
    so that a reader never sees half of it. Files are readable by their owner only; what root writes gets that
    of the folder.
    """

    def __init__(self, root: str | Path, *, must_exist: bool = True) -> None:
        self._root = Path(root)
        self._folder = f"{str(self._root).rstrip('/')}/"
        self._must_exist = must_exist

    def __repr__(self) -> str:
        return f"FolderStore({str(self._root)!r})"

    @property
    def uri(self) -> str:
        """The folder's path."""
        return str(self._root)

    def pages(self, prefix: str = "", *, start_after: str = "", delimiter: str = "") -> Iterator[Page]:
        """See `Store.pages`; an empty folder inside the root shows as a common prefix, unlike in S3."""
        if delimiter not in ("", "/"):
            raise ValueError(f"a folder knows the delimiter '/' only, not {delimiter!r}")
        if not self._root.is_dir():
            if self._must_exist:
                raise self._missing()
            return
        found = walk(self._root, prefix, start_after, flat=not delimiter)
        try:
            while batch := tuple(islice(found, _PAGE_SIZE)):
                yield _page(batch)
        except OSError as error:
            raise StoreError(
                f"the folder {error.filename or self._root} can't be listed: {error.strerror}",
                remedy="give the user that runs the job the right to read this folder",
            ) from error

    def open(
        self, key: str, *, offset: int = 0, length: int | None = None, etag: str = "", size: int | None = None
    ) -> BinaryIO:
        """See `Store.open`; a file that can't be opened is `FileUnavailableError`, so that others go on."""
        self._check(key)
        try:
            file = io.FileIO(f"{self._folder}{key}")  # a `Path` takes longer to make than the file to open
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise _gone(self._root / key) from error
        except PermissionError as error:
            raise _denied(self._root / key, os.R_OK) from error
        except OSError as error:
            raise unavailable(str(self._root / key), error) from error
        found = os.fstat(file.fileno())
        if (etag and _etag(found) != etag) or size not in (None, found.st_size):
            file.close()
            raise SourceGoneError(
                f"{self._root / key} was replaced since it was listed", remedy="the next run reads it anew"
            )
        return open_slice(file, offset, length)

    def put(self, key: str, data: bytes) -> None:
        """See `Store.put`; parent folders are made."""
        target = self._path(key)
        try:
            make_folder(target.parent)
            _replace(target, data)
        except OSError as error:
            raise self._failed("write", key, error) from error

    def lifetime(self, prefix: str = "") -> None:
        """See `Store.lifetime`; a folder deletes nothing itself."""

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`; folders stay."""
        for key in keys:
            try:
                self._path(key).unlink(missing_ok=True)
            except NotADirectoryError:
                continue  # a parent is a file: the key is not there
            except OSError as error:
                raise self._failed("delete", key, error) from error

    def check_access(self, prefix: str = "", room: int = 0) -> None:
        """See `Store.check_access`; no folder is made for it."""
        folder = (self._root / prefix).absolute()
        for path, use in _uses(folder):
            if not os.access(path, use):
                raise _denied(path, use)
        if room:
            try:
                _try_room(_existing(folder), room)
            except OSError as error:
                raise self._failed("write", prefix, error) from error

    def _path(self, key: str) -> Path:
        self._check(key)
        return self._root / key

    def _check(self, key: str) -> None:
        if "\0" in key or not _NO_NAMES.isdisjoint(key.split("/")):
            raise StoreError(
                f"the key {key!r} is no path below {self._root}",
                remedy="use keys whose parts are plain file names",
            )

    def _missing(self) -> StoreError:
        return StoreError(
            f"there is no folder {self._root}",
            remedy="create it, or correct the URI: a bucket is s3://bucket/prefix, and a relative path "
            "begins in the working directory",
        )

    def _failed(self, action: str, key: str, error: OSError) -> StoreError:
        return StoreError(
            f"can't {action} {self._root / key}: {error.strerror}",
            remedy="check the rights, the free space and the file system of this folder",
        )


def _page(found: tuple[FoundFile | str, ...]) -> Page:
    objects = tuple(_stored(item) for item in found if isinstance(item, FoundFile))
    return Page(objects, tuple(item for item in found if isinstance(item, str)))


def _stored(file: FoundFile) -> StoredObject:
    modified = datetime.fromtimestamp(file.stat.st_mtime, UTC)
    return StoredObject(file.key, _etag(file.stat), file.stat.st_size, modified)


def _etag(stat: os.stat_result) -> str:
    return f"{stat.st_size:x}-{stat.st_mtime_ns:x}"


def _denied(path: Path, use: int) -> AccessDeniedError:
    done, remedy = ("read", "read this file") if use == os.R_OK else ("written to", "write there")
    return AccessDeniedError(
        f"{path} can't be {done}: Permission denied",
        remedy=f"give the user that runs the job the right to {remedy}",
    )


def _uses(folder: Path) -> Iterator[tuple[Path, int]]:
    """How all that lies below a folder is used, and the folder, or the one in which it would be made."""
    yield _existing(folder), _ALL
    for parent, folders, files in os.walk(folder):
        yield from ((Path(parent, name), _ALL) for name in folders)
        yield from ((Path(parent, name), os.R_OK) for name in files if not name.startswith(TEMPORARY_PREFIX))


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())


def _try_room(folder: Path, room: int) -> None:
    """Take so many bytes of the volume for a moment."""
    handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=folder)
    try:
        os.posix_fallocate(handle, 0, room)
    finally:
        os.close(handle)
        Path(name).unlink()


def _gone(path: Path) -> SourceGoneError:
    return SourceGoneError(
        f"there is no file {path}", remedy="it was moved or deleted; put it back to replay it"
    )


def _replace(target: Path, data: bytes) -> None:
    # mkstemp makes the file with mode 0600: what is put may be personal data.
    handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            hand_over(file.fileno(), target.parent)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    # Without this the rename itself can be lost when the machine stops.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
