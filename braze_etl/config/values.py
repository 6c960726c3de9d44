"""The notations of the configuration as types: durations, sizes, counts, shares, hours (CONTRACT.md)."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema

from braze_etl.clock import duration_text, parse_duration, parse_hour
from braze_etl.errors import ConfigError
from braze_etl.uri import S3Place, parse_ledger, parse_uri

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|MB|GB)", re.IGNORECASE)
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_COUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([kMG]?)")
_TIMES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_UNSET = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}")
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")


class Section(BaseModel):
    """What a section does not know is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def parse_size(value: Any) -> int:
    """Read `500KB`, `18MB`, `1GB` (powers of ten) or a plain number of bytes."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = str(value).strip()
    if text.isdecimal():
        return int(text)
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError(f"{value!r} is no size; write a number and KB, MB or GB, such as 18MB")
    return int(Decimal(match[1]) * _BYTES[match[2].upper()])


def parse_count(value: Any) -> int:
    """Read a number of things: `10M`, `500k`, `2.5M` (powers of ten), `1_000_000`, or a plain one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _COUNT.fullmatch(str(value).strip().replace("_", ""))
    count = Decimal(match[1]) * _TIMES[match[2]] if match else None
    if count is None or count != int(count):
        raise ValueError(f"{value!r} is no count; write a whole number, or one with k, M or G, such as 10M")
    return int(count)


def parse_share(value: Any) -> float:
    """Read `80%`; a number alone is a share already (0.8), and has to lie above 0 and not above 1."""
    match = _SHARE.fullmatch(str(value).strip())
    try:
        share = float(match[1]) / 100 if match else float(value)
    except (TypeError, ValueError):
        share = 0.0
    if isinstance(value, bool) or not 0 < share <= 1:
        raise ValueError(f"{value!r} is no share; write a percentage above 0% and up to 100%, such as 80%")
    return share


def _place_of_files(value: str) -> str:
    """Check a URI, and write its scheme in lower case; a variable may not be set yet."""
    if _UNSET.search(value):
        return value
    try:
        place = parse_uri(value)
    except ConfigError as error:
        raise ValueError(f"{error.message}; {error.remedy}") from None
    return f"s3{value[2:]}" if isinstance(place, S3Place) else value


def _place_of_ledger(value: str) -> str:
    if _UNSET.search(value):
        return value
    try:
        parse_ledger(value)
    except ConfigError as error:
        raise ValueError(f"{error.message}; {error.remedy}") from None
    scheme, separator, rest = value.partition("://")
    return f"{scheme.lower()}{separator}{rest}"


def _text_or(number: dict[str, Any], pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": "string", "pattern": pattern, "examples": [example]}, number]})


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(duration_text),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?\s*[smhd]$", "examples": ["48h"]}),
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    _text_or({"type": "integer", "minimum": 0}, r"^\d+(\.\d+)?\s*([KMGkmg]?[Bb])?$", "18MB"),
]
Count = Annotated[
    int,
    BeforeValidator(parse_count),
    _text_or({"type": "integer", "minimum": 0}, r"^\d[\d_]*(\.\d+)?\s*[kMG]?$", "10M"),
]
Share = Annotated[
    float,
    BeforeValidator(parse_share),
    PlainSerializer(lambda share: f"{share * 100:g}%", return_type=str),
    _text_or({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, r"^\d+(\.\d+)?\s*%$", "80%"),
]
Hour = Annotated[
    datetime,
    BeforeValidator(parse_hour),
    WithJsonSchema({"type": "string", "examples": ["2026-10-01T05"]}),
]
StoreUri = Annotated[str, AfterValidator(_place_of_files)]
LedgerUri = Annotated[str, AfterValidator(_place_of_ledger)]
