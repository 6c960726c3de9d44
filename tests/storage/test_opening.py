from __future__ import annotations

import re
from pathlib import Path

import pytest

from braze_etl.errors import ConfigError
from braze_etl.storage.folder import FolderStore
from braze_etl.storage.opening import open_store
from braze_etl.storage.s3 import S3Store

POINT = "arn:aws:s3:eu-west-1:123456789012:accesspoint/currents"
COLON = "arn:aws-cn:s3:cn-north-1:123456789012:accesspoint:currents"
LAMBDA = "arn:aws:s3-object-lambda:eu-west-1:123456789012:accesspoint/redact"
OUTPOST = "arn:aws:s3-outposts:eu-west-1:123456789012:outpost/op-0123/accesspoint/currents"


@pytest.mark.parametrize(
    ("uri", "store_uri", "prefix"),
    [
        ("s3://bucket", "s3://bucket", ""),
        ("s3://bucket/", "s3://bucket", ""),
        ("s3://bucket/a", "s3://bucket", "a/"),
        ("s3://bucket/a/b/", "s3://bucket", "a/b/"),
        ("S3://bucket/a?b#c", "s3://bucket", "a?b#c/"),
        ("s3://bucket//a", "s3://bucket", "/a/"),
        ("s3://bucket/a//", "s3://bucket", "a//"),
        ("s3://bucket//", "s3://bucket", "/"),
        (f"s3://{POINT}", f"s3://{POINT}", ""),
        (f"s3://{POINT}/a/b", f"s3://{POINT}", "a/b/"),
        (f"s3://{POINT}//a", f"s3://{POINT}", "/a/"),
        (f"s3://{COLON}/a:b/c", f"s3://{COLON}", "a:b/c/"),
        (f"s3://{LAMBDA}/a", f"s3://{LAMBDA}", "a/"),
        (f"s3://{OUTPOST}/a", f"s3://{OUTPOST}", "a/"),
    ],
)
def test_an_s3_uri_names_a_bucket_and_a_prefix(uri: str, store_uri: str, prefix: str) -> None:
    store, found = open_store(uri)
    assert isinstance(store, S3Store)
    assert (store.uri, found) == (store_uri, prefix)


@pytest.mark.parametrize(
    ("uri", "folder"),
    [
        ("./fixtures/export", "fixtures/export"),
        ("/data/currents/", "/data/currents"),
        ("file:///data/currents", "/data/currents"),
        ("file://localhost/data/my%20currents", "/data/my currents"),
        ("~/currents", str(Path.home() / "currents")),
    ],
)
def test_a_path_names_a_folder(uri: str, folder: str) -> None:
    store, prefix = open_store(uri)
    assert isinstance(store, FolderStore)
    assert (store.uri, prefix) == (folder, "")


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("gs://bucket/a", "scheme 'gs' is unknown"),
        ("s3://", "no bucket"),
        ("s3:///a", "no bucket"),
        ("file://host/a", "another machine"),
        ("file://", "another machine"),
        ("s3a://bucket/a", "scheme 's3a' is unknown"),
        ("s3:/bucket/a", "write s3://bucket/a, or ./s3:/bucket/a for a folder"),
        ("S3:bucket/a", "write s3://bucket/a"),
        ("s3//bucket/a", "write s3://bucket/a"),
        ("file:/data/a", "write file:///data/a"),
        ("gs:/bucket/a", "a scheme ends in ://"),
        ("https:/bucket/a", "a scheme ends in ://"),
        (f"{POINT}/a", f"write s3://{POINT}/a"),
        ("s3://arn:aws:s3:::bucket/a", "write s3://bucket/a"),
        ("s3://arn:aws:s3:eu-west-1:123456789012:bucket/a", "no ARN of an access point"),
        (f"s3://{COLON}:a", "no ARN of an access point"),
        ("s3://my bucket/a", "'my bucket' can't be the name"),
        ("s3://minio:9000/bucket", "a server's address goes into endpoint_url"),
        ("$HOME/currents", r"\$HOME is not replaced: write \$\{HOME\}"),
        ("s3://$bucket/a", r"write \$\{bucket\}"),
        ("s3://acme-$ENV/a", r"write \$\{ENV\}"),
        ("/data/$DAY/x", r"write \$\{DAY\}"),
        ("file:///~/currents", "~ is not replaced behind a scheme"),
        ("~no-such-user-here/a", "nobody of that name"),
        ("s3://bucket/a\n", "a blank"),
        (" s3://bucket/a", "a blank"),
        ("", "it is empty"),
    ],
)
def test_what_names_no_store_is_a_configuration_error(uri: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_store(uri)
    assert re.search(words, f"{caught.value.message}: {caught.value.remedy}")
    assert caught.value.remedy


@pytest.mark.parametrize("uri", ["exports/a:b", "./s3:/x", "C:\\currents", "a$b", "a/_$folder$", "~/x:y"])
def test_a_path_may_hold_what_looks_like_a_scheme_further_down(uri: str) -> None:
    assert isinstance(open_store(uri)[0], FolderStore)
