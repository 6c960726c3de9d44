"""Where ledger and quarantine go: beside the source and beside each other, never one below the other."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from braze_etl.errors import UsageError
from braze_etl.uri import S3Place, parse_uri


class Places(NamedTuple):
    """The URIs of ledger and quarantine."""

    state: str
    quarantine: str


def places(source: str, pipeline: str, state: str | None) -> Places:
    """Say where the state of a pipeline goes: to *state*, or beside the source.

    `UsageError` for a place below the source, and for a whole bucket: the quarantine would lie in the ledger.
    """
    ledger = state or _beside(source, pipeline)
    found = Places(ledger, _quarantine_beside(ledger, pipeline))
    for place in found:
        if lies_below(place, source):
            raise UsageError(
                f"{place} lies below {source}: the job would write among the files of the source, and look "
                "there for event types",
                remedy="Name a place for the ledger with --state, such as s3://acme-state/braze-etl/ledger.",
            )
    return found


def lies_below(uri: str, other: str) -> bool:
    """Whether what is at *uri* is a part of what is at *other*."""
    return _place(uri).startswith(_place(other))


def sqlite_path(uri: str) -> Path | None:
    """The file of a ledger in SQLite; None for a ledger of another kind."""
    scheme, _, rest = uri.partition("://")
    return Path(rest.removeprefix("/")) if scheme == "sqlite" else None


def _beside(source: str, pipeline: str) -> str:
    place = parse_uri(source)
    if not isinstance(place, S3Place):
        return f"sqlite:///state/{pipeline}.db"
    return S3Place(place.bucket, f"braze-etl/{pipeline}/ledger").uri


def _quarantine_beside(ledger: str, pipeline: str) -> str:
    path = sqlite_path(ledger)
    if path is not None:
        return str(path.parent / f"{pipeline}-quarantine")
    if not ledger.startswith("s3://"):
        return f"state/{pipeline}-quarantine"
    place = parse_uri(ledger)
    assert isinstance(place, S3Place)
    above, slash, name = place.key.rstrip("/").rpartition("/")
    if not name:
        raise UsageError(
            f"{ledger} is a whole bucket: the quarantine would lie among the objects of the ledger",
            remedy="Name a place in it with --state, such as s3://acme-state/braze-etl/ledger.",
        )
    return S3Place(
        place.bucket, f"{above}{slash}{'quarantine' if name == 'ledger' else f'{name}-quarantine'}"
    ).uri


def _place(uri: str) -> str:
    """The URI in a form in which a part begins with the whole."""
    if uri.startswith("memory://"):
        return uri
    place = sqlite_path(uri) or parse_uri(uri)
    if isinstance(place, S3Place):
        return f"s3://{place.bucket}/{place.prefix}"
    return f"{str(place.resolve()).rstrip('/')}/"
