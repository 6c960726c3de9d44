"""Request bodies and messages as bytes."""

from __future__ import annotations

import gzip
import io
from email.message import Message as Headers

import pytest

from braze_etl.sandbox.amplitude.replies import refusal
from braze_etl.sandbox.faults import Answer
from braze_etl.sandbox.wire import Body, Message, read_body


def read(data: bytes, encoding: str | None = None, most: int = 1_000, length: str | None = "") -> Body:
    headers = Headers()
    if length is not None:
        headers["Content-Length"] = length or str(len(data))
    if encoding is not None:
        headers["Content-Encoding"] = encoding
    return read_body(io.BytesIO(data), headers, most)


@pytest.mark.parametrize("encoding", [None, "identity"])
def test_a_plain_body_is_taken_as_it_is(encoding: str | None) -> None:
    assert read(b"{}", encoding) == Body(b"{}", 2)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP"])
def test_a_gzip_body_is_inflated(encoding: str) -> None:
    packed = gzip.compress(b"x" * 500, mtime=0)
    assert read(packed, encoding) == Body(b"x" * 500, len(packed))


def test_a_gzip_bomb_is_inflated_to_just_over_the_limit() -> None:
    body = read(gzip.compress(bytes(10_000_000), mtime=0), "gzip")
    assert len(body.data) == 1_001


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b"",
        gzip.compress(b"{}" * 50, mtime=0)[:-9],
        gzip.compress(b"{}", mtime=0) + b"more",
        gzip.compress(b"{}", mtime=0)[:5],
    ],
)
def test_a_bad_gzip_stream_is_refused(data: bytes) -> None:
    body = read(data, "gzip")
    assert body.refusal is not None
    assert (body.refusal.status, body.refusal.body["error"]) == (400, "Invalid gzip request body")
    assert body.in_step


def test_another_encoding_is_refused() -> None:
    body = read(b"x", "br")
    assert body.refusal is not None
    assert (body.refusal.status, body.refusal.body["error"]) == (415, "Unsupported content encoding: br")


@pytest.mark.parametrize(("length", "status"), [(None, 411), ("many", 411), ("999999999999", 413)])
def test_a_body_that_is_not_read_ends_the_connection(length: str | None, status: int) -> None:
    body = read(b"", length=length)
    assert body.refusal is not None
    assert body.refusal.status == status
    assert not body.in_step


def test_a_client_that_breaks_off_is_an_error() -> None:
    with pytest.raises(ConnectionError):
        read(b"{", length="100")


def test_a_reply_is_rendered_as_json_with_its_length() -> None:
    message = Message.of(refusal(413, "Payload too large"))
    assert message.payload == b'{"code":413,"error":"Payload too large"}'
    assert message.head(close=True).decode().split("\r\n") == [
        "HTTP/1.1 413 Request Entity Too Large",
        "Content-Length: 40",
        "Connection: close",
        "Content-Type: application/json",
        "",
        "",
    ]


def test_a_scripted_answer_keeps_its_text_and_its_headers() -> None:
    message = Message.of(Answer(599, {"content-length": "9", "Content-Type": "text/html"}, "<html>"))
    assert message.payload == b"<html>"
    head = message.head(close=False).decode()
    assert head == "HTTP/1.1 599 Unknown\r\ncontent-length: 9\r\nContent-Type: text/html\r\n\r\n"


@pytest.mark.parametrize("answer", [Answer(204, {}, "text"), Answer(503)])
def test_some_answers_have_no_body(answer: Answer) -> None:
    assert Message.of(answer).payload == b""


def test_a_scripted_body_may_have_numbers_as_keys() -> None:
    assert Message.of(Answer(400, {}, {"lists": {7: [1]}})).payload == b'{"lists":{"7":[1]}}'
