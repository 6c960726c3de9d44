"""Walk a folder in the order of whole keys, lazily, and only where the asked keys can be."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

TEMPORARY_PREFIX = ".braze-etl-tmp-"
"""What `put` has not finished, or a crash left behind: no object."""


class FoundFile(NamedTuple):
    """A regular file (or a link to one) and its key."""

    key: str
    stat: os.stat_result


@dataclass(frozen=True, slots=True)
class _Asked:
    root: Path
    prefix: str
    start_after: bytes
    flat: bool


def walk(root: Path, prefix: str, start_after: str, *, flat: bool) -> Iterator[FoundFile | str]:
    """Yield the files whose keys begin with *prefix* and lie behind *start_after*, by the bytes of the key.

    Unless *flat*, folders below the prefix come as a string `key/` and are not entered. `OSError` for a
    folder that can't be read; one that vanishes meanwhile is empty.
    """
    parent, _, _ = prefix.rpartition("/")
    if any(part in ("", ".", "..") for part in parent.split("/")) and parent:
        return  # no key looks like that
    asked = _Asked(root, prefix, _bytes(start_after), flat)
    yield from _below(asked, f"{parent}/" if parent else "")


def _below(asked: _Asked, folder: str) -> Iterator[FoundFile | str]:
    # A folder sorts as `name/`: `a-b/x` comes before `a/x`, and both before `a0`.
    for order, key, entry in sorted(_entries(asked, folder), key=lambda found: found[0]):
        if key.endswith("/"):
            yield from _folder(asked, key, entry)
        elif key.startswith(asked.prefix) and order > asked.start_after:
            stat = _stat(entry)
            if stat is not None:
                yield FoundFile(key, stat)


def _entries(asked: _Asked, folder: str) -> Iterator[tuple[bytes, str, os.DirEntry[str]]]:
    """Yield the files and folders in a folder with their keys; a folder's ends in `/`."""
    try:
        with os.scandir(asked.root / folder) as entries:
            for entry in entries:
                ending = _ending(entry)
                if ending is not None and not entry.name.startswith(TEMPORARY_PREFIX):
                    key = folder + entry.name + ending
                    yield _bytes(key), key, entry
    except (FileNotFoundError, NotADirectoryError):
        return


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")  # of a name that is no text, the bytes that it is


def _ending(entry: os.DirEntry[str]) -> str | None:
    try:
        if entry.is_dir():
            return "/"
        return "" if entry.is_file() else None  # None: a device, a socket, a link that leads nowhere
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link that leads to itself
            return None
        raise


def _folder(asked: _Asked, key: str, entry: os.DirEntry[str]) -> Iterator[FoundFile | str]:
    inside = key.startswith(asked.prefix)
    if not inside and not asked.prefix.startswith(key):
        return
    encoded = _bytes(key)
    if encoded < asked.start_after and not asked.start_after.startswith(encoded):
        return  # everything in it sorts before the start
    if entry.is_symlink() and _leads_back(asked.root, key):
        return
    if inside and key != asked.prefix and not asked.flat:
        yield key
    else:
        yield from _below(asked, key)


def _leads_back(root: Path, key: str) -> bool:
    """Whether the linked folder *key* is one of the folders on the way to it: a loop."""
    target = os.path.realpath(root / key)
    parts = key.rstrip("/").split("/")[:-1]
    ways = (os.path.realpath(root.joinpath(*parts[:depth])) for depth in range(len(parts) + 1))
    return target in ways


def _stat(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat()
    except FileNotFoundError:
        return None
