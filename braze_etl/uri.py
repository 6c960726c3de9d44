"""What a URI of the configuration names: a bucket in S3 and a key in it, or a path on this machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote

from braze_etl.errors import ConfigError

_FORMS: Final = "write s3://bucket/prefix, a path, or file:///absolute/path"
_LEDGERS: Final = "write sqlite:///state/braze-etl.db (relative), sqlite:////data/braze-etl.db (absolute) or s3://bucket/prefix"
_SCHEMES: Final = frozenset({"s3", "file", "sqlite"})
_OF_LEDGERS: Final = ("sqlite://", "memory://")
_BUCKET: Final = re.compile(r"[A-Za-z0-9._-]{1,255}")
_ACCESS_POINT: Final = re.compile(
    r"arn:aws[\w-]*:(?:s3|s3-object-lambda):[a-z0-9-]*:\d{12}:accesspoint[/:][A-Za-z0-9.-]{1,63}"
    r"|arn:aws[\w-]*:s3-outposts:[a-z0-9-]+:\d{12}:outpost[/:][A-Za-z0-9-]+[/:]accesspoint[/:][A-Za-z0-9-]{1,63}"
)
_OF_BUCKET: Final = re.compile(r"arn:[\w-]+:s3:::(.+)", re.DOTALL)
_ANY_CASE: Final = re.IGNORECASE | re.DOTALL
# One letter before a colon is a drive of Windows.
_LIKE_A_SCHEME: Final = re.compile(r"([A-Za-z][\w+.-]+):(.*)|(s3|gs|az|file|https?)(//.*)", _ANY_CASE)
_VARIABLE: Final = re.compile(r"(?:^|(?<=[/:]))\$(\w+)|\$([A-Z_][A-Z0-9_]*)")
_HOME: Final = re.compile(r"(?:file|sqlite):/+(~[\w.-]*)(?:/|$)", re.IGNORECASE)
_CONTROL: Final = re.compile(r"^\s|\s$|[\x00-\x1f\x7f]")

_NAMES: Final = (
    "write s3://bucket/prefix: a name has letters, digits, dots and hyphens; a server's address goes into "
    "endpoint_url"
)


class S3Place(NamedTuple):
    """A bucket, or the ARN of an access point, and what stands behind its slash, unchanged."""

    bucket: str
    key: str

    @property
    def prefix(self) -> str:
        """The key as that of a folder: it ends in a slash, or is empty for the whole bucket."""
        return self.key if not self.key or self.key.endswith("/") else f"{self.key}/"

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}" if self.key else f"s3://{self.bucket}"


def parse_uri(uri: str, what: str = "files") -> S3Place | Path:
    """Say what *uri* names: `s3://bucket/key`, a path (`~` is replaced), or `file:///absolute/path`.

    The bucket may be the ARN of an access point. `s3://bucket//key` has the key `/key`.
    `ConfigError` for all that looks like one of these and is none; *what* is to lie there, for people.
    """
    refuse_unreplaced(uri, what)
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return _path(uri, what)
    match scheme.lower():
        case "s3":
            return _in_s3(uri, rest, what, _FORMS)
        case "file":
            return _in_file(uri, rest, what)
    raise _no_place(uri, what, f"the scheme {scheme!r} is unknown", _FORMS)


def parse_ledger(uri: str) -> S3Place | Path | None:
    """Say where a ledger is kept: in S3, in a file of SQLite, or (None) in memory.

    Three slashes lead to a relative path, four to an absolute one. `ConfigError` for anything else.
    """
    refuse_unreplaced(uri, "a ledger")
    scheme, separator, rest = uri.partition("://")
    if not separator:
        raise _no_place(uri, "a ledger", "it has no scheme", _LEDGERS)
    match scheme.lower():
        case "s3":
            return _in_s3(uri, rest, "a ledger", _LEDGERS)
        case "sqlite":
            name = rest.removeprefix("/")
            if name == rest or not name or name.endswith("/") or name == ":memory:":
                raise _no_place(uri, "a ledger", "it names no file", _LEDGERS)
            return Path(name)
        case "memory":
            return None
    raise _no_place(uri, "a ledger", f"{scheme!r} is no kind of ledger", _LEDGERS)


def parse_any(uri: str) -> S3Place | Path | None:
    """Say where files or a ledger are; None for a ledger in memory."""
    return parse_ledger(uri) if uri.lower().startswith(_OF_LEDGERS) else parse_uri(uri)


def is_in_s3(uri: str) -> bool:
    return isinstance(parse_any(uri), S3Place)


def refuse_unreplaced(uri: str, what: str) -> None:
    """Raise `ConfigError` for a variable or `~` that nothing replaces where it stands, and stray blanks."""
    found = _VARIABLE.search(uri)
    if found is not None:
        name = found[1] or found[2]
        raise _no_place(uri, what, f"${name} is not replaced", f"write ${{{name}}}")
    if "${" in uri:
        raise _no_place(uri, what, "there is ${ without a variable's name and }", "write ${NAME}")
    if home := _HOME.match(uri):
        raise _no_place(uri, what, f"{home[1]} is not replaced behind a scheme", "write ${HOME}")
    if _CONTROL.search(uri):
        raise _no_place(uri, what, "a blank or a control character stands in it", "take it out")


def _no_place(uri: str, what: str, why: str, remedy: str) -> ConfigError:
    return ConfigError(f"{uri!r} is no place for {what}: {why}", remedy=remedy)


def _path(uri: str, what: str) -> Path:
    if not uri:
        raise _no_place(uri, what, "it is empty", _FORMS)
    if found := _LIKE_A_SCHEME.fullmatch(uri):
        raise _no_place(uri, what, "a scheme ends in ://", _corrected(uri, *filter(None, found.groups())))
    try:
        return Path(uri).expanduser()
    except RuntimeError:
        raise _no_place(uri, what, "nobody of that name has a home here", "write the path out") from None


def _corrected(uri: str, scheme: str, rest: str = "") -> str:
    if scheme.lower() == "arn":
        return f"write s3://{uri}"
    if scheme.lower() not in _SCHEMES:
        return f"{_FORMS}; ./{uri} for a folder of that name"
    slashes = "://" if scheme.lower() == "s3" else ":///"
    return f"write {scheme.lower()}{slashes}{rest.lstrip('/')}, or ./{uri} for a folder of that name"


def _in_s3(uri: str, rest: str, what: str, forms: str) -> S3Place:
    point = _ACCESS_POINT.match(rest)
    bucket = point[0] if point else rest.partition("/")[0]
    key = rest[len(bucket) :]
    if rest.startswith("arn:") and (not point or key[:1] not in ("", "/")):
        of_bucket = _OF_BUCKET.fullmatch(rest)
        remedy = f"write s3://{of_bucket[1]}" if of_bucket else "write s3://arn:aws:s3:...:accesspoint/name"
        raise _no_place(uri, what, "that is no ARN of an access point", remedy)
    if not bucket:
        raise _no_place(uri, what, "it names no bucket", forms)
    if not point and not _BUCKET.fullmatch(bucket):
        raise _no_place(uri, what, f"{bucket!r} can't be the name of a bucket", _NAMES)
    return S3Place(bucket, key.removeprefix("/"))


def _in_file(uri: str, rest: str, what: str) -> Path:
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost") or not slash:
        raise _no_place(
            uri,
            what,
            "it names a folder on another machine, or none",
            "write file:///absolute/path (three slashes), or the path alone",
        )
    return Path("/" + unquote(path))
