"""A store that is not what a lease needs is refused, with words that say what it does wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from braze_etl.clock import ManualClock
from braze_etl.errors import StateError, StoreError
from braze_etl.state.s3.ledger import S3Ledger
from braze_etl.state.s3.objects import Objects
from braze_etl.state.s3.opening import refuse_without_conditions
from braze_etl.storage.opening import open_conditional_store
from braze_etl.storage.settings import StoreAccess
from tests.front import BareEtags, Front
from tests.s3_server import Bucket
from tests.serving import serving
from tests.state.bucket import MemoryBucket
from tests.state.ground import IDENTITY, OWNER, by_hand, done, ref


class NoConditions(MemoryBucket):
    """Answers NotImplemented, as some servers do."""

    def create(self, key: str, data: bytes) -> str | None:
        raise StoreError("S3 refused s3:PutObject: NotImplemented", remedy="look the code up")


def tried(bucket: MemoryBucket) -> None:
    refuse_without_conditions(Objects(bucket, "state/"), lambda: "aa")


def refusal(bucket: MemoryBucket) -> StateError:
    with pytest.raises(StateError) as caught:
        tried(bucket)
    assert "as Amazon S3 does, or in SQLite" in caught.value.remedy
    return caught.value


def test_one_that_honours_them_passes_and_keeps_nothing() -> None:
    bucket = MemoryBucket()
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


class Forgetful(MemoryBucket):
    """Knows none of its own ETags."""

    def replace(self, key: str, data: bytes, etag: str) -> str | None:
        return None


def test_one_that_does_not_know_its_own_etags_is_refused() -> None:
    assert "the ETag that it gave to a reader" in refusal(Forgetful()).message


def ledger_on(front: Front, bucket: Bucket, clock: ManualClock) -> S3Ledger:
    store, prefix = open_conditional_store(f"{bucket.uri}/state", access=StoreAccess(front.url))
    return S3Ledger.open(store, prefix, IDENTITY, clock=clock, keeper=by_hand, server=front.url)


def probes(front: Front) -> int:
    return sum("/probe/" in asked.target for asked in front.asked)


def test_one_that_wants_etags_without_quotes_is_tried_once_and_keeps_its_fence(
    bucket: Bucket, clock: ManualClock
) -> None:
    with serving(BareEtags(bucket.endpoint_url)) as front:
        first = ledger_on(front, bucket, clock)
        tried = probes(front)
        with first.lease(OWNER):
            first.settle("run-1", [done(ref("a"), accepted=1)], None)
            second = ledger_on(front, bucket, clock)
            assert second.holder() is not None
            second.unlock()
            with second.lease(replace(OWNER, run_id="run-2")), pytest.raises(StateError, match="taken over"):
                first.settle("run-1", [done(ref("b"), accepted=1)], None)
        assert list(second.known([ref("a"), ref("b")])) == [ref("a").key]
        assert probes(front) == tried


def test_one_that_takes_them_for_no_condition_is_refused(bucket: Bucket, clock: ManualClock) -> None:
    with serving(BareEtags(bucket.endpoint_url)) as front:
        front.careless = True
        with pytest.raises(StateError, match="ignores If-Match: two runs"):
            ledger_on(front, bucket, clock)
