"""A store that is not what a lease needs is refused, with words that say what it does wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from braze_etl.checkpoint.s3.conditions import try_conditions
from braze_etl.checkpoint.s3.objects import Objects
from braze_etl.errors import StateError, StoreError
from braze_etl.storage import Version
from tests.checkpoint.bucket import MemoryBucket


class NoConditions(MemoryBucket):
    """Answers NotImplemented, as some servers do."""

    def create(self, key: str, data: bytes) -> str | None:
        raise StoreError("S3 refused s3:PutObject: NotImplemented", remedy="look the code up")


class Unquoted(MemoryBucket):
    """Gives readers the ETag without its quotes, and takes it back only in that form or in its own."""

    def read(self, key: str) -> Version | None:
        found = super().read(key)
        return None if found is None else replace(found, etag=found.etag.strip('"'))

    def replace(self, key: str, data: bytes, etag: str) -> str | None:
        return super().replace(key, data, f'"{etag.strip(chr(34))}"')


class Literal(Unquoted):
    """Compares the ETag that it gave to readers with the quoted one."""

    def replace(self, key: str, data: bytes, etag: str) -> str | None:
        return MemoryBucket.replace(self, key, data, etag)


def tried(bucket: MemoryBucket) -> None:
    try_conditions(Objects(bucket, "state/"), lambda: "aa")


def refusal(bucket: MemoryBucket) -> StateError:
    with pytest.raises(StateError) as caught:
        tried(bucket)
    assert "as Amazon S3 does, or in SQLite" in caught.value.remedy
    return caught.value


@pytest.mark.parametrize("bucket", [MemoryBucket(), Unquoted()])
def test_one_that_honours_them_passes_and_keeps_nothing(bucket: MemoryBucket) -> None:
    tried(bucket)
    assert bucket.objects == {}


@pytest.mark.parametrize("ignored", ["If-None-Match", "If-Match"])
def test_one_that_ignores_a_condition_is_refused(ignored: str) -> None:
    bucket = MemoryBucket(ignores=frozenset({ignored}))
    assert f"ignores {ignored}: two runs could both hold the lease" in refusal(bucket).message
    assert bucket.objects == {}


def test_one_that_knows_no_conditions_is_refused_in_its_own_words() -> None:
    error = refusal(NoConditions())
    assert "takes no conditional writes" in error.message
    assert "NotImplemented" in error.message


def test_one_that_does_not_know_its_own_etags_is_refused() -> None:
    assert "the ETag that it gave to a reader" in refusal(Literal()).message
