from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import boto3
import pytest

from braze_etl.clock import Clock, SystemClock
from braze_etl.commands.doctor.check import Check, Finding, examine
from braze_etl.commands.doctor.command import all_checks
from braze_etl.commands.doctor.site import Machine, Site
from braze_etl.flows.currents_to_amplitude.settings import load_config
from tests.s3_server import Bucket
from tests.workplace import KEY, Workplace

MakeSite: TypeAlias = Callable[..., Site]


class Bare(Machine):
    """A machine with a disk of its own, and as much room on it as is said."""

    def __init__(self, sign: str = "", kind: str = "ext4", free: int = 10**12) -> None:
        super().__init__()
        self._sign, self._kind, self._free = sign, kind, free

    def container(self) -> str:
        return self._sign

    def filesystem(self, path: Path) -> str:
        return self._kind

    def free(self, path: Path) -> int:
        return self._free


@pytest.fixture
def make_site(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> MakeSite:
    """Makes a site from sections laid over the workplace's configuration."""
    monkeypatch.chdir(workplace.folder)
    workplace.source.mkdir()

    def make(
        *,
        clock: Clock | None = None,
        machine: Machine | None = None,
        environ: dict[str, str] | None = None,
        **sections: Any,
    ) -> Site:
        workplace.configure(**sections)
        config = load_config(workplace.folder / "config.yaml", environ or {})
        return Site(config, clock or SystemClock(), machine=machine or Bare(), token="t1")

    return make


def look(site: Site, *names: str) -> Finding:
    """What the last of these checks finds, made one after the other."""
    by_name: dict[str, Check] = {check.name: check for check in all_checks()}
    return list(examine([by_name[name] for name in names], site))[-1].finding


def in_s3(bucket: Bucket, **more: Any) -> dict[str, Any]:
    """Sections for state and quarantine in S3."""
    reach = {"endpoint_url": bucket.endpoint_url, **more}
    return {
        "state": {"uri": f"{bucket.uri}/ledger", **reach},
        "quarantine": {"uri": f"{bucket.uri}/quarantine", **reach},
    }


def keys(bucket: Bucket) -> list[str]:
    """What lies in a bucket."""
    client: Any = boto3.client("s3", endpoint_url=bucket.endpoint_url)
    return [found["Key"] for found in client.list_objects_v2(Bucket=bucket.name).get("Contents", ())]


def upload(place: Workplace, bucket: Bucket) -> dict[str, str]:
    """Put the export into a bucket; the section that names it."""
    client: Any = boto3.client("s3", endpoint_url=bucket.endpoint_url)
    for path in place.files():
        key = f"currents/{path.relative_to(place.source).as_posix()}"
        client.put_object(Bucket=bucket.name, Key=key, Body=path.read_bytes())
    return {"uri": f"{bucket.uri}/currents", "endpoint_url": bucket.endpoint_url}


__all__ = ["KEY", "Bare", "MakeSite", "in_s3", "keys", "look", "upload"]
