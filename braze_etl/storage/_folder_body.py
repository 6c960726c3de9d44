"""The bytes of a local file, or of a part of it, with read errors told as this file's trouble."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO

from braze_etl.errors import FileUnavailableError

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
