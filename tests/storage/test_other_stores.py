"""The whole program on stores that are not a plain bucket of Amazon's: access points, odd prefixes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import boto3

from tests.conftest import Bucket
from tests.front import Asked, Front, Reply, serving
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
