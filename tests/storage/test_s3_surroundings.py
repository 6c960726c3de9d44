"""What stands around a store: encryption keys, proxies, a private authority."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any

import boto3
import pytest
import trustme

from braze_etl.errors import StoreError
from braze_etl.storage.opening import open_conditional_store, open_store
from braze_etl.storage.s3 import S3Store
from braze_etl.storage.settings import StoreAccess
from tests.front import Front
from tests.serving import serving

_EMPTY = b"<ListBucketResult><Name>acme</Name><IsTruncated>false</IsTruncated></ListBucketResult>"


class Handler(BaseHTTPRequestHandler):
    """Answers every request with an empty listing, and remembers what was asked for."""

    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(_EMPTY)))
        self.end_headers()
        self.wfile.write(_EMPTY)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        pass


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []

    def handle_error(self, *_args: object) -> None:
        pass  # a client that trusts nobody leaves in the middle of a word


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server()) as one:
        yield one


@pytest.mark.parametrize("conditional", [False, True])
def test_what_is_written_is_encrypted_with_the_key_of_the_configuration(
    bucket: Any, conditional: bool
) -> None:
    access = StoreAccess(endpoint_url=bucket.endpoint_url, kms_key_id="alias/acme")
    if conditional:
        guarded, _ = open_conditional_store(bucket.uri, access=access)
        assert guarded.create("key", b"x")
    else:
        store, _ = open_store(bucket.uri, access=access)
        store.put("key", b"x")
    answer = boto3.client("s3", endpoint_url=bucket.endpoint_url).head_object(Bucket=bucket.name, Key="key")
    assert answer["ServerSideEncryption"] == "aws:kms"
    assert answer["SSEKMSKeyId"].endswith("alias/acme")


@pytest.mark.usefixtures("s3_server")
def test_the_proxy_of_the_environment_is_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    store = S3Store("acme", StoreAccess("http://store.invalid", "us-east-1"))
    assert [page.objects for page in store.pages()] == [()]
    assert server.asked[0].startswith("http://store.invalid/")


@pytest.mark.usefixtures("s3_server")
@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"])
def test_a_private_authority_is_trusted_when_its_bundle_is_named(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    authority = trustme.CA()
    context = SSLContext(PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    url = f"https://127.0.0.1:{server.server_address[1]}"
    for other in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(other, raising=False)
    with pytest.raises(StoreError, match="can't be reached"):
        list(S3Store("acme", StoreAccess(url, "us-east-1")).pages())
    monkeypatch.setenv(name, str(bundle))
    store = S3Store("acme", StoreAccess(url, "us-east-2"))  # a client is made once for each access
    assert [page.objects for page in store.pages()] == [()]


def test_no_request_has_what_some_servers_refuse(bucket: Any) -> None:
    """No checksum but the signature's, no trailer, no question whether a body may come."""
    with serving(Front(bucket.endpoint_url)) as front:
        access = StoreAccess(endpoint_url=front.url)
        store, _ = open_conditional_store(bucket.uri, access=access)
        etag = store.create("key", b"x" * 100_000)
        assert etag
        assert store.replace("key", b"y", etag)
        assert store.read("key")
        store.check_access("a/")
        assert next(iter(store.pages())).objects
        with suppress(StoreError):
            store.lifetime()
        store.delete(["key", "nothing"])
    assert {asked.method for asked in front.asked} == {"GET", "PUT", "DELETE"}
    plain = {
        *("host", "accept-encoding", "user-agent", "authorization", "content-length", "if-match"),
        *("x-amz-date", "x-amz-content-sha256", "amz-sdk-invocation-id", "amz-sdk-request", "if-none-match"),
    }
    assert {name for asked in front.asked for name in asked.headers} == plain
    hashes = {asked.headers["x-amz-content-sha256"] for asked in front.asked if asked.method == "PUT"}
    assert all(len(each) == 64 for each in hashes), "a body that is signed, and not in chunks"
