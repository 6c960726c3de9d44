"""Lists of people, for tests that are about something else."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from braze_etl.mapping.id_cache import IdCache
from braze_etl.mapping.people import Suppression, load_suppression
from braze_etl.storage.settings import StoreAccess


def suppressing(*lines: str, salt: str = "") -> Suppression:
    """Open a suppress list of these lines; its copy is gone already, and can be asked in this process."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "list.txt")
        path.write_bytes("\n".join(lines).encode(errors="surrogateescape"))
        return load_suppression(str(path), StoreAccess(), salt, IdCache(Path(folder, "cache")))
