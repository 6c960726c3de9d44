"""The whole program on stores that are not a plain bucket of Amazon's: access points, odd prefixes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest

from braze_etl.errors import FileUnavailableError, SourceGoneError
from braze_etl.storage.opening import open_store
from braze_etl.storage.settings import StoreAccess
from tests.front import Asked, BareEtags, Front, Reply, refusal
from tests.s3_server import Bucket
from tests.serving import serving
from tests.workplace import Workplace

POINT = "arn:aws:s3:us-east-1:123456789012:accesspoint/currents"
FEW: dict[str, Any] = {"events": 40, "hours": 1, "event_types": ("users.messages.email.*",)}


class AccessPoint(Front):
    """A proxy on the way to an access point: its name is in the host, and no bucket in the path."""

    bucket = ""

    def answer(self, asked: Asked) -> Reply:
        url = urlsplit(asked.target)
        assert url.hostname == "currents-123456789012.store.invalid", asked.target
        query = f"?{url.query}" if url.query else ""
        return self.pass_on(replace(asked, target=f"/{self.bucket}{url.path}{query}"))


def upload(place: Workplace, bucket: Bucket, prefix: str) -> list[str]:
    client: Any = boto3.client("s3", endpoint_url=bucket.endpoint_url)
    keys = {f"{prefix}{path.relative_to(place.source).as_posix()}": path for path in place.files()}
    for key, path in keys.items():
        client.put_object(Bucket=bucket.name, Key=key, Body=path.read_bytes())
    return list(keys)


def found(bucket: Bucket) -> list[str]:
    client: Any = boto3.client("s3", endpoint_url=bucket.endpoint_url)
    return [each["Key"] for each in client.list_objects_v2(Bucket=bucket.name)["Contents"]]


def test_a_source_behind_an_access_point_and_a_prefix_that_begins_with_a_slash_are_delivered(
    workplace: Workplace, bucket: Bucket
) -> None:
    workplace.export(**FEW)
    keys = upload(workplace, bucket, "/currents/")
    upload(workplace, bucket, "currents/")  # another prefix: S3 does not take the two for one
    environ = {"NO_PROXY": "127.0.0.1"}
    with serving(AccessPoint(bucket.endpoint_url)) as front:
        front.bucket = bucket.name
        environ["HTTP_PROXY"] = front.url
        workplace.configure(
            source={"uri": f"s3://{POINT}//currents", "endpoint_url": "http://store.invalid"},
            state={"uri": f"s3://{POINT}//own/ledger"},
            quarantine={"uri": f"s3://{POINT}//own/quarantine"},
        )
        first = workplace.do("run", "--output", "json", **environ)
        again = workplace.do("run", "--output", "json", **environ)
        shown = workplace.do("preview", f"s3://{POINT}/{keys[0]}", "-n", "1", **environ)
    assert (first.code, again.code, shown.code) == (0, 0, 0), (first.err, shown.err)
    assert first.json["files"]["done"] == len(keys)
    assert first.json["events"]["accepted"] == len(workplace.accepted_ids()) > 0
    assert again.json["files"]["discovered"] == 0
    assert shown.json["insert_id"]
    assert {key.split("/")[1] for key in found(bucket) if key.startswith("/")} == {"currents", "own"}
    assert not [key for key in found(bucket) if key.startswith("own")]


class Paying(Front):
    """A bucket whose readers pay: no request without their word is answered."""

    def answer(self, asked: Asked) -> Reply:
        if asked.headers.get("x-amz-request-payer") != "requester":
            return refusal(403, "AccessDenied", self.message)
        assert "x-amz-request-payer" in asked.headers["authorization"], "the header is not signed"
        return self.pass_on(asked)

    message = "Bucket is requester pays bucket but no requester pays header provided."


def test_a_bucket_whose_readers_pay_is_read_when_they_say_so(workplace: Workplace, bucket: Bucket) -> None:
    workplace.export(**FEW)
    keys = upload(workplace, bucket, "currents/")
    with serving(Paying(bucket.endpoint_url)) as front:
        source = {"uri": f"{bucket.uri}/currents", "endpoint_url": front.url}
        workplace.configure(source=source)
        refused = workplace.do("run")
        front.message = "Access Denied"
        hinted = workplace.do("run")
        workplace.configure(source={**source, "requester_pays": True})
        told = workplace.do("run", "--output", "json")
        init = ("init", "--source", source["uri"], "--endpoint-url", front.url, "-o", "written.yaml")
        written = workplace.do(*init, "--requester-pays")
    assert (refused.code, hinted.code, told.code, written.code) == (1, 1, 0, 0), (told.err, written.err)
    assert "makes its readers pay" in refused.err
    assert "source.requester_pays" in refused.err
    assert "source.requester_pays" in hinted.err
    assert told.json["files"]["done"] == len(keys)
    assert "  requester_pays: true\n" in (workplace.folder / "written.yaml").read_text()


def test_a_file_is_read_by_its_etag_without_quotes_where_that_is_honoured(
    bucket: Bucket,
) -> None:
    with serving(BareEtags(bucket.endpoint_url)) as front:
        store, _ = open_store(bucket.uri, access=StoreAccess(front.url))
        store.put("a", b"1")
        store.put("b", b"2")
        (page,) = store.pages()
        front.asked.clear()
        assert [store.open(each.key, etag=each.etag).read() for each in page.objects] == [b"1", b"2"]
        assert len(front.asked) == 3, "the form is learned from the first"
        store.put("a", b"another")
        with pytest.raises((FileUnavailableError, SourceGoneError)):
            store.open("a", etag=page.objects[0].etag)


def test_a_store_that_takes_a_bare_etag_for_no_condition_gives_no_other_file(bucket: Bucket) -> None:
    with serving(BareEtags(bucket.endpoint_url)) as front:
        front.careless = True
        store, _ = open_store(bucket.uri, access=StoreAccess(front.url))
        store.put("a", b"1")
        (page,) = store.pages()
        store.put("a", b"another")
        with pytest.raises((FileUnavailableError, SourceGoneError)):
            store.open("a", etag=page.objects[0].etag)


def test_a_whole_pipeline_runs_on_a_store_that_is_strict_and_wants_bare_etags(
    workplace: Workplace, bucket: Bucket
) -> None:
    """Ceph 16, say: source, ledger and quarantine lie there, and every command finds its way."""
    workplace.export(**FEW, awkward=0.2)
    upload(workplace, bucket, "currents/")
    with serving(BareEtags(bucket.endpoint_url)) as front:
        workplace.configure(
            source={"uri": f"{bucket.uri}/currents", "endpoint_url": front.url},
            state={"uri": f"{bucket.uri}/own/ledger"},
            quarantine={"uri": f"{bucket.uri}/own/quarantine"},
        )
        first = workplace.do("run", "--output", "json")
        again = workplace.do("run", "--output", "json")
        dropped = workplace.do("quarantine", "drop", "--all")
        looked = workplace.do("doctor", "--output", "json")
    assert (first.code, again.code, dropped.code) == (3, 0, 0), (first.err, again.err, dropped.err)
    assert first.json["events"]["quarantined"] > 0
    assert again.json["files"]["discovered"] == 0
    found = {each["check"]: each["status"] for each in looked.json["checks"]}
    assert {name: found[name] for name in found if name.startswith(("state.", "quarantine."))} == {
        name: "ok" for name in found if name.startswith(("state.", "quarantine."))
    }
