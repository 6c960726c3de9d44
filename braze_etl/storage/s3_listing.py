"""What a bucket's lifecycle rules say of how long its objects can be read."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from botocore.exceptions import ClientError

from braze_etl.errors import StoreError
from braze_etl.storage.store import Page, StoredObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import LifecycleRuleOutputTypeDef, ListObjectsV2OutputTypeDef, ObjectTypeDef

ARCHIVES: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes from which an object has to be restored before it can be read."""
_NO_RULES: Final = "NoSuchLifecycleConfiguration"


def shortest_lifetime(client: S3Client, bucket: str, prefix: str) -> timedelta | None:
    """How long the first to go of the objects below *prefix* can be read, by the rules that hold for each.

    Zero for a rule with a date: from that day on, S3 takes every object as soon as it is there. None where
    there is no such rule; boto3's errors come as they are.
    """
    try:
        rules = client.get_bucket_lifecycle_configuration(Bucket=bucket).get("Rules", [])
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == _NO_RULES:
            return None
        raise
    ends = (end for rule in rules if _holds_below(rule, prefix) for end in _ends(rule))
    return min(ends, default=None)


def _holds_below(rule: LifecycleRuleOutputTypeDef, prefix: str) -> bool:
    where = rule.get("Filter", {})
    if rule["Status"] != "Enabled" or where.keys() - {"Prefix"}:
        return False  # by tags or sizes: it is not known which objects that means
    covered = where.get("Prefix", rule.get("Prefix", ""))
    return prefix.startswith(covered) or covered.startswith(prefix)


def _ends(rule: LifecycleRuleOutputTypeDef) -> Iterator[timedelta]:
    """When the rule deletes an object, and when it archives it."""
    archiving = (each for each in rule.get("Transitions", []) if each.get("StorageClass") in ARCHIVES)
    for action in (rule.get("Expiration", {}), *archiving):
        # Without both it only clears away marks of deleted versions.
        if "Date" in action or "Days" in action:
            yield timedelta(days=action.get("Days", 0))


_LOOK: Final = "see what stands between this machine and the store: S3 itself does not answer so"
_MOST_EMPTY: Final = 1000
"""Pages in a row without a single object: a store may skip what was deleted, but not for ever."""
_PAGE_SIZE: Final = 1000
_NO_ETAG: Final = "listed:"
"""What begins the etag of an object that was listed without one: no server's ETag looks like that."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a listing was asked for (see `Store.pages`)."""

    bucket: str
    prefix: str
    start_after: str
    delimiter: str

    def entry(self, key: str) -> str:
        """The key, or with a delimiter the common prefix that it lies below."""
        end = key.find(self.delimiter, len(self.prefix)) if self.delimiter else -1
        return key if end < 0 else key[: end + len(self.delimiter)]

    def covers(self, key: str) -> bool:
        """Whether that key was asked for; Python compares texts as S3 does, by code point."""
        return key > self.start_after and key.startswith(self.prefix)

    def has_more_in(self, folder: str) -> bool:
        """Whether that is a common prefix below which keys were asked for."""
        return folder != self.prefix and (folder > self.start_after or self.start_after.startswith(folder))


def follow(
    ask: Callable[[str], ListObjectsV2OutputTypeDef], asked: Asked
) -> Iterator[ListObjectsV2OutputTypeDef]:
    """Give the answers to a listing, page by page; *ask* takes the token of each, "" for the first.

    `StoreError` for an answer that is no listing of this bucket, or none that comes to an end.
    """
    token, met, empty = "", set[str](), 0
    while True:
        answer = ask(token)
        _check(answer, asked.bucket)
        yield answer
        token = answer.get("NextContinuationToken", "")
        if not token:
            if answer["IsTruncated"]:
                raise _strange(asked, "gave a part of a listing and no way to go on")
            return
        contents = answer.get("Contents", ())
        empty = 0 if contents else empty + 1
        marks = {f"token {token}", *(f"key {item.get('Key')}" for item in contents[:1])}
        if empty > _MOST_EMPTY or not met.isdisjoint(marks):
            raise _strange(asked, "gives the same part of its listing again and again")
        met |= marks


def in_order(
    answers: Iterator[ListObjectsV2OutputTypeDef], asked: Asked, *, whole: bool = False
) -> Iterator[Page]:
    """Turn answers into pages, one by one; or, with *whole* or from where they are not in order, all at once.

    Those that had to be sorted say so (`Page.in_order`).
    """
    given, last = array("q"), ""  # of what was given, the hashes: 8 bytes a key, and used only after disorder
    for answer in answers:
        entries, sorted_ = _entries(answer, asked)
        fresh = [entry for entry in entries if entry.key != last]
        if whole or not sorted_ or (fresh and fresh[0].key < last):
            rest = chain([fresh], (_entries(more, asked)[0] for more in answers))
            yield from _sorted(chain.from_iterable(rest), set(given))
            return
        given.extend(hash(entry.key) for entry in fresh)
        last = fresh[-1].key if fresh else last
        yield _page(fresh)


class _Entry(NamedTuple):
    """An object, or without one a common prefix."""

    key: str
    stored: StoredObject | None = None


def _check(answer: Mapping[str, Any], bucket: str) -> None:
    """An answer of somebody else's in S3's place is no empty bucket."""
    # An access point may answer in another name.
    name, other = answer.get("Name"), bucket.startswith("arn:") or bucket.endswith("-s3alias")
    if answer.get("IsTruncated") is None or not (name or other):
        raise StoreError(f"what answered for s3://{bucket} is no listing of S3's", remedy=_LOOK)
    if not other and name not in (bucket, bucket.rpartition(":")[2]):  # the latter is a tenant's
        raise StoreError(
            f"s3://{bucket} was asked for, and the bucket {name!r} answered",
            remedy="correct the URI or endpoint_url: one of them names another bucket",
        )


def _entries(answer: ListObjectsV2OutputTypeDef, asked: Asked) -> tuple[list[_Entry], bool]:
    """What of an answer was asked for, sorted, each once; and whether it came in order."""
    objects = [_object(item, asked) for item in answer.get("Contents", ())]
    folders = [_folder(item.get("Prefix"), asked) for item in answer.get("CommonPrefixes", ())]
    sorted_ = _is_sorted(objects) and _is_sorted(folders)
    found = {
        entry.key: entry
        for entry in chain(objects, folders)
        if (asked.covers if entry.stored else asked.has_more_in)(entry.key)
    }
    return sorted(found.values(), key=lambda entry: entry.key), sorted_


def _object(item: ObjectTypeDef, asked: Asked) -> _Entry:
    try:
        key = item["Key"]
        if asked.covers(key) and (folder := asked.entry(key)) != key:
            return _Entry(folder)
        return _Entry(key, _stored(item))
    except KeyError as error:
        raise _strange(asked, f"lists an object without its {error.args[0]}") from error


def _folder(prefix: str | None, asked: Asked) -> _Entry:
    folder = asked.entry(prefix or "")
    if not folder.startswith(asked.prefix):
        raise _strange(asked, f"was asked for what lies below {asked.prefix!r}, and answers with {prefix!r}")
    return _Entry(folder)


def _is_sorted(entries: list[_Entry]) -> bool:
    keys = [entry.key for entry in entries]
    return all(map(str.__le__, keys, keys[1:]))


def _sorted(entries: Iterable[_Entry], given: set[int]) -> Iterator[Page]:
    """Pages of all that was not given before; all of them at once are in memory."""
    found = {entry.key: entry for entry in entries if hash(entry.key) not in given}
    rest = iter(sorted(found.values(), key=lambda entry: entry.key))
    while page := list(islice(rest, _PAGE_SIZE)):
        yield _page(page, in_order=False)


def _page(entries: list[_Entry], *, in_order: bool = True) -> Page:
    objects = tuple(entry.stored for entry in entries if entry.stored)
    return Page(objects, tuple(entry.key for entry in entries if not entry.stored), in_order)


def _stored(item: ObjectTypeDef) -> StoredObject:
    size, modified = item["Size"], item["LastModified"]
    etag = unquoted(item["ETag"]) if item.get("ETag") else listed_as(size, modified)
    return StoredObject(item["Key"], etag, size, modified, _is_archived(item))


def _is_archived(item: ObjectTypeDef) -> bool:
    """Whether it has to be restored first; a restored copy is there until its expiry."""
    restored = "RestoreExpiryDate" in item.get("RestoreStatus", {})
    return item.get("StorageClass") in ARCHIVES and not restored


def unquoted(etag: str) -> str:
    """An ETag without its quotes: a reply to GET always has them, a listing not of every server."""
    return etag.removeprefix("W/").strip('"')


def listed_as(size: int, modified: datetime) -> str:
    """The etag of an object that was listed without one: by its size and time it is known, too."""
    return f"{_NO_ETAG}{size:x}-{int(modified.timestamp()):x}"


def has_etag(etag: str) -> bool:
    """Whether that is the store's own, which it knows when it is asked for."""
    return bool(etag) and not etag.startswith(_NO_ETAG)


def _strange(asked: Asked, words: str) -> StoreError:
    return StoreError(f"s3://{asked.bucket} {words}", remedy=_LOOK)
