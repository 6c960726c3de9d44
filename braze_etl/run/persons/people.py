"""Lists and tables of people, read beside the mapping: who is suppressed, who is called what in Amplitude."""

from __future__ import annotations

import io
from dataclasses import replace

from braze_etl.config import MappingSection
from braze_etl.errors import ConfigError, StoreError, UsageError
from braze_etl.run.persons.located import locate
from braze_etl.run.persons.lookup_cache import LookupCache, cache_folder
from braze_etl.storage import StoreAccess
from braze_etl.transform import LookupColumns, LookupTable, People, Suppression


def load_suppression(uri: str, access: StoreAccess, salt: str = "") -> Suppression:
    """Read the suppress list that *uri* (a path, `file:///path`, `s3://bucket/key`) names.

    `ConfigError` for a list that is not there, or has lines that are no entry; `StoreError` for one that
    can't be reached. In none of these cases may anything be sent.
    """
    with locate("suppress list", uri, access).reading() as stream:
        text = io.TextIOWrapper(stream, "utf-8", errors="surrogateescape")
        try:
            return Suppression.parse(text, salt)
        except ConfigError as error:
            raise ConfigError(f"{uri}: {error.message}", remedy=error.remedy) from None


def open_lookup(
    uri: str,
    access: StoreAccess,
    *,
    table: str | None = None,
    key_column: str | None = None,
    value_column: str | None = None,
    cache: LookupCache | None = None,
) -> LookupTable:
    """Open the look-up table that *uri* names, a CSV or a SQLite file; the caller closes it.

    What can't be searched where it lies is copied first (see `LookupCache`), which takes minutes for tens of
    millions of rows: open it once before processes do that need it. Errors are those of `load_suppression`.
    """
    columns = LookupColumns(table, key_column, value_column)
    cache = cache or LookupCache(cache_folder())
    return LookupTable(cache.of(locate("look-up table", uri, access), columns), columns)


def load_people(mapping: MappingSection, access: StoreAccess) -> People:
    """Read the lists and tables that a mapping names, by the *access* of the source.

    The table stays open as long as it is used. Errors are those of `load_suppression` and `open_lookup`.
    """
    privacy, lookup = mapping.privacy, mapping.identity.lookup
    salt = privacy.salt.get_secret_value()
    people = People(suppressed=load_suppression(privacy.suppress, access, salt) if privacy.suppress else None)
    if lookup is None:
        return people
    # Asked for before it is opened: of a table that is replaced in between, the older version is noted, and
    # what was judged by it is never compared, rather than compared with another content.
    version = locate("look-up table", lookup.uri, access).version()
    table = open_lookup(
        lookup.uri,
        access,
        table=lookup.table,
        key_column=lookup.key_column,
        value_column=lookup.value_column,
    )
    return replace(people, table=table, key=lookup.key, missing=lookup.missing, table_version=version)


def add_to_list(uri: str, entry: str) -> None:
    """Write an entry at the end of a suppress list on this machine; `UsageError` for one in S3.

    `StoreError` where it may not be written.
    """
    located = locate("suppress list", uri, StoreAccess())
    if located.path is None:
        raise UsageError(
            f"the suppress list {uri} is not on this machine",
            remedy=f"Add this line to it: {entry}",
        )
    try:
        text = located.path.read_bytes()
        with located.path.open("ab") as file:
            file.write((b"\n" if text and not text.endswith(b"\n") else b"") + f"{entry}\n".encode())
    except OSError as error:
        raise StoreError(
            f"the suppress list {uri} can't be written: {error.strerror}",
            remedy=f"Add this line to it: {entry}",
        ) from error
