from __future__ import annotations

from pathlib import Path

import pytest

from braze_etl.errors import ConfigError
from braze_etl.storage import FolderStore, open_store
from braze_etl.storage.s3 import S3Store


@pytest.mark.parametrize(
    ("uri", "store_uri", "prefix"),
    [
        ("s3://bucket", "s3://bucket", ""),
        ("s3://bucket/", "s3://bucket", ""),
        ("s3://bucket/a", "s3://bucket", "a/"),
        ("s3://bucket/a/b/", "s3://bucket", "a/b/"),
        ("S3://bucket/a?b#c", "s3://bucket", "a?b#c/"),
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
    ],
)
def test_what_names_no_store_is_a_configuration_error(uri: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        open_store(uri)
    assert "write" in caught.value.remedy
