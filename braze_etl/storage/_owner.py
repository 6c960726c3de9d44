"""Whose files root leaves behind: those of the folder's owner, as that user's job has to go on with them.

Somebody who looks after the job by hand is often root, and files are readable by their owner only. Of any
other user, files and folders are that user's own.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

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
