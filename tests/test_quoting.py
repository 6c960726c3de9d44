"""What comes from outside is shown whole, and never with a password."""

from __future__ import annotations

import json
import unicodedata

import pytest

from braze_etl.errors import BrazeEtlError
from braze_etl.quoting import json_text, masked, visible

_SEEN_FORMATS = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u0890\u0891\u08e2\U000110bd\U000110cd"
"""Signs of Arabic and Kaithi that belong to the category of marks, and are drawn."""
HOSTILE = "a\x1b[31m\x07\x9b2J\x7f\r\n\u202eb\u2066\u200f\u061c\u2028\u200b\U000e0041"


def test_no_character_without_a_shape_is_left() -> None:
    kinds = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    every = "".join(map(chr, range(0x13000)))
    left = {each for each in visible(every) if unicodedata.category(each) in kinds}
    assert left <= set(_SEEN_FORMATS)


def test_what_is_written_in_a_language_stays_as_it_is() -> None:
    text = "Anna, Ünïcødé, 日本語, עברית, العربية, 😀, [a] \\x1b 100 %"
    assert visible(text) == text


def test_each_is_shown_by_its_number() -> None:
    shown = visible(HOSTILE)
    assert shown.isprintable()
    assert shown.startswith(r"a\x1b[31m\x07\x9b2J\x7f\r\n\u202eb\u2066\u200f\u061c\u2028\u200b\U000e0041")
    assert visible("a\nb\x1b", lines=True) == "a\nb\\x1b"


@pytest.mark.parametrize("indent", [False, True])
def test_json_stays_json_and_shows_them_too(*, indent: bool) -> None:
    value = {HOSTILE: [HOSTILE, 1], "half a pair": "plain"}
    text = json_text(value, indent=indent)
    assert json.loads(text) == value
    assert all(each.isprintable() for each in text.splitlines())
    assert json.loads(json_text({"name": "\udcff"})) == {"name": "\udcff"}


@pytest.mark.parametrize(
    "text",
    [
        "can't reach http://anna:s3cret@proxy:3128/x",
        "Unable to connect via socks5h://anna:s3cret@proxy:1080",
        "ProxyError('failed', OSError('socks5://anna:s3cret@[::1]:1080'))",
        "https://s3cret@host/path",
        "http://anna:p@s3cret@host/",
        "http://anna:pa/s3cret@host/",
        "http://anna:pa#s3cret@host:80/",
        'said {"proxy": "http:\\/\\/anna:s3cret@proxy"}',
        "next=http%3A%2F%2Fanna%3As3cret%40proxy%2Fx",
        "Failed to parse: anna:s3cret@proxy:port",
    ],
)
def test_user_and_password_of_an_address_are_masked(text: str) -> None:
    assert "s3cret" not in masked(text)
    assert "anna" not in masked(text)
    assert "***@" in masked(text)
    error = BrazeEtlError(text, remedy=text)
    assert "s3cret" not in str(error) + str(error.as_dict())


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/people/a@b/2026-10-01T05:00.avro",
        "http://localhost:8099/batch?x=a@b",
        "the key arn:aws:kms:eu-central-1:1:key/a@b",
        "mail anna@example.com: no answer",
    ],
)
def test_other_words_stay_as_they_are(text: str) -> None:
    assert masked(text) == text


def test_a_part_of_a_proxy_s_password_is_masked_where_it_stands_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://anna:s3%23cret@proxy:3128")
    assert masked("no port: 's3#cret', 's3%23cret'") == "no port: '***', '***'"
    monkeypatch.setenv("all_proxy", "socks5h://anna:pass/word@proxy")
    assert masked("Failed to parse: 'anna:pass' is not a valid host") == (
        "Failed to parse: 'anna:***' is not a valid host"
    )
