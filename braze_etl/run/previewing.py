"""One file, wherever it lies, as the events it becomes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from braze_etl.clock import hour_of
from braze_etl.compile import EventReader
from braze_etl.config import Settings
from braze_etl.currents import Damage, parse_key
from braze_etl.errors import SourceGoneError, UsageError
from braze_etl.model import Event, FileRef, Reason, Verdict
from braze_etl.run.assembly import mapping_options, store_access
from braze_etl.storage import Store, StoreAccess, open_store
from braze_etl.transform import Mapping, MappingOptions


def preview_file(source: str, settings: Settings | None) -> Iterator[Event | Verdict]:
    """Map the records of *source* (a path or an s3 uri) under the settings, or under the defaults.

    Raises `UsageError` if there is no such file, `UnreadableFileError` if it can't be read.
    """
    options = mapping_options(settings) if settings else MappingOptions()
    access = store_access(settings, settings.source) if settings else StoreAccess()
    store, key = _locate(source, access)
    reader = EventReader(Mapping.load(options))
    try:
        with store.open(key) as stream:
            for block in reader.read(_ref(key, source), stream):
                if isinstance(block, Damage):
                    yield Verdict(Reason.DAMAGED_BLOCK, f"at byte {block.offset}: {block.detail}")
                else:
                    yield from block.outcomes
    except SourceGoneError as error:
        raise UsageError(error.message, remedy="Check the path, or the bucket and key.") from None


def _locate(source: str, access: StoreAccess) -> tuple[Store, str]:
    if source.startswith("s3://"):
        bucket, _, key = source.removeprefix("s3://").partition("/")
        store, _ = open_store(f"s3://{bucket}", access=access)
        return store, key
    path = Path(source.removeprefix("file://"))
    if not path.is_file():
        raise UsageError(f"there is no file {source}", remedy="Check the path.")
    store, _ = open_store(str(path.parent), access=access)
    return store, path.name


def _ref(key: str, source: str) -> FileRef:
    """What the key says; a file outside of a Currents layout is taken by its schema's name, as of now."""
    parsed = parse_key(source) or parse_key(key)
    now = datetime.now(UTC)
    hour = parsed.hour if parsed else hour_of(now)
    return FileRef(key, "", 0, now, parsed.event_type if parsed else "", hour)
