"""The commands of "More than one machine", typed as the page has them, under TLS, on one machine."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.deploy.manifests import skip_without
from tests.docs.pages import ROOT, blocks
from tests.s3_server import Bucket, free_port
from tests.workplace import KEY, Workplace, ended

pytestmark = pytest.mark.xdist_group("dask")

_PAGE = ROOT / "docs/deployment.md"
_CLICKS = "users.messages.email.Click"


def lines(beginning: str) -> list[str]:
    """The lines of the page's shell blocks that begin so, each as one."""
    text = "\n".join(block.text.replace("\\\n", " ") for block in blocks(_PAGE) if block.language == "sh")
    return re.findall(rf"^{re.escape(beginning)}.*$", text, re.MULTILINE)


def variables(folder: Path) -> dict[str, str]:
    """What the page exports, with its folder of certificates at *folder*."""
    pairs = [line.removeprefix("export ").split("=", 1) for line in lines("export DASK_")]
    assert len(pairs) == 8
    return {name: value.replace("/etc/braze-etl-dask", str(folder)) for name, value in pairs}


@pytest.fixture
def place(workplace: Workplace, bucket: Bucket) -> Workplace:
    """A pipeline in S3 with a ledger on this disk, that has delivered all but clicks, and wants these now."""
    workplace.export(events=300, hours=2, event_types=("users.messages.email.*",))
    client: Any = boto3.client("s3", endpoint_url=bucket.endpoint_url)
    for path in workplace.files():
        key = f"currents/{path.relative_to(workplace.source).as_posix()}"
        client.put_object(Bucket=bucket.name, Key=key, Body=path.read_bytes())
    for exclude in ([_CLICKS], []):
        workplace.configure(
            source={"uri": f"{bucket.uri}/currents", "endpoint_url": bucket.endpoint_url},
            quarantine={"uri": f"{bucket.uri}/quarantine"},
            amplitude={"api_key": "${AMPLITUDE_API_KEY}"},
            mapping={"choose": {"exclude": exclude}},
        )
        if exclude:
            assert workplace.do("run", AMPLITUDE_API_KEY=KEY).code == 0
    return workplace


def test_the_page_leads_from_certificates_to_a_backfill_over_machines(place: Workplace) -> None:
    skip_without("openssl")
    delivered, folder, port = len(place.accepted_ids()), place.folder / "tls", free_port()
    folder.mkdir()
    for line in lines("openssl "):
        subprocess.run(shlex.split(line), cwd=folder, check=True, capture_output=True)
    environ: dict[str, Any] = {
        **variables(folder),
        "AMPLITUDE_API_KEY": KEY,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "BRAZE_ETL_PROCESSES": "1",
    }

    def typed(line: str) -> list[str]:
        here = line.replace("10.0.0.5", "127.0.0.1").replace("8786", str(port))
        return shlex.split(here.replace("dask://", "dask+tls://").replace("tcp://", "tls://"))

    (scheduler,), (worker,) = lines("dask scheduler "), lines("dask worker ")
    place.start(command=[*typed(scheduler), "--protocol", "tls"], **environ)
    machine = place.start(command=typed(worker), **environ)
    assert machine.stderr
    assert any("Registered to" in line for line in machine.stderr)
    doctor, backfill = (typed(line)[1:] for line in lines("braze-etl ") if "10.0.0.5" in line)
    looked = {each["check"]: each for each in place.do(*doctor, "--output", "json", **environ).json["checks"]}
    assert looked["machines.processes"]["seen"] == "1 process on 1 machine", looked
    result = ended(place.start(*backfill, "--output", "json", **environ))
    assert result.code == 0, result.err
    assert result.json["events"]["accepted"] == len(place.accepted_ids()) - delivered > 0
