"""Conditional writes against answers that servers give; what all of them do is in contracts/test_store."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from braze_etl.errors import ConfigError, StoreError
from braze_etl.storage.opening import open_conditional_store
from braze_etl.storage.probe import try_etags
from braze_etl.storage.s3 import S3ConditionalStore
from braze_etl.storage.settings import StoreAccess
from tests.front import BareEtags, Reply, refusal
from tests.serving import serving


def test_only_s3_takes_conditions() -> None:
    assert open_conditional_store("s3://bucket/a/b")[1] == "a/b/"
    with pytest.raises(ConfigError, match="conditional writes"):
        open_conditional_store("some/folder")


class Client:
    """Answers with one ETag or one error, and remembers what it was asked."""

    def __init__(self, etag: str = "", code: str = "") -> None:
        self.etag = etag
        self.code = code
        self.asked: list[dict[str, Any]] = []

    def put_object(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        if self.code:
            raise ClientError({"Error": {"Code": self.code, "Message": "no"}}, "PutObject")
        return {"ETag": self.etag}


def answering(client: Client) -> S3ConditionalStore:
    store = S3ConditionalStore("bucket")
    store.__dict__["_client"] = client
    return store


@pytest.mark.parametrize("told", ['"abc"', "abc", 'W/"abc"'])
@pytest.mark.parametrize(("bare", "sent"), [(False, '"abc"'), (True, "abc")])
def test_an_etag_goes_back_in_the_form_that_its_server_honours(told: str, bare: bool, sent: str) -> None:
    client = Client(etag=told)
    store = answering(client)
    store.bare_etags = bare
    etag = store.create("key", b"x")
    assert etag is not None
    store.replace("key", b"y", etag)
    assert client.asked[1]["IfMatch"] == sent


@pytest.mark.parametrize(
    "code", ["PreconditionFailed", "412", "ConditionalRequestConflict", "OperationAborted"]
)
def test_a_lost_race_is_no_error(code: str) -> None:
    store = answering(Client(code=code))
    assert store.create("key", b"x") is None
    assert store.replace("key", b"x", '"abc"') is None


@pytest.mark.parametrize("code", ["AccessDenied", "NotImplemented", "SlowDown"])
def test_any_other_refusal_is_one(code: str) -> None:
    store = answering(Client(code=code))
    with pytest.raises(StoreError):
        store.create("key", b"x")
    with pytest.raises(StoreError):
        store.replace("key", b"x", '"abc"')


def test_a_refused_condition_is_never_tried_in_another_form() -> None:
    """A store that ignores what it can't read would write over what somebody else has written."""
    client = Client(code="PreconditionFailed")
    assert answering(client).replace("key", b"x", "abc") is None
    assert len(client.asked) == 1


@pytest.mark.parametrize("quoted", [refusal(412, "PreconditionFailed"), refusal(400, "InvalidArgument")])
@pytest.mark.parametrize("careless", [False, True])
def test_which_form_a_store_honours_is_found_out(bucket: Any, quoted: Reply, careless: bool) -> None:
    with serving(BareEtags(bucket.endpoint_url)) as front:
        front.quoted, front.careless = quoted, careless
        store = open_conditional_store(bucket.uri, access=StoreAccess(front.url))[0]
        store.put("probe", b"")
        assert try_etags(store, "probe") == ("ignores If-Match" if careless else "")


def test_a_server_that_tells_no_time_is_refused() -> None:
    with pytest.raises(StoreError, match="without its time") as caught:
        S3ConditionalStore("bucket")._server_time({})
    assert caught.value.remedy
