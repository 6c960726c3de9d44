"""The policies of configs/aws/ give what the program uses, and nothing besides."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import yaml
from click.testing import CliRunner

from braze_etl.cli import cli
from braze_etl.storage.opening import places
from tests.deploy.gatekeeper import Gatekeeper, gatekeeper
from tests.deploy.manifests import CONFIGS, ROLE_SUBJECT
from tests.deploy.policies import Grant, Need, allowed, grants, policy
from tests.workplace import KEY, Workplace

_SETTINGS = CONFIGS / "kubernetes/overlays/production/settings/braze-etl.yaml"
_SOURCE_KEY = "arn:aws:kms:us-east-1:111122223333:key/11111111-1111-1111-1111-111111111111"
_FEW: dict[str, Any] = {"events": 200, "hours": 2, "event_types": ("users.messages.email.*",)}
_STATE_KEY = "arn:aws:kms:us-east-1:111122223333:key/22222222-2222-2222-2222-222222222222"


@pytest.fixture
def behind(s3_server: str) -> Iterator[str]:
    """The S3 server, with the buckets that the policies name."""
    client: Any = boto3.client("s3", endpoint_url=s3_server)
    for name in ("acme-currents", "acme-state"):
        client.create_bucket(Bucket=name)
    yield s3_server
    for name in ("acme-currents", "acme-state"):
        for found in client.list_objects_v2(Bucket=name).get("Contents", ()):
            client.delete_object(Bucket=name, Key=found["Key"])
        client.delete_bucket(Bucket=name)


def configure(place: Workplace, gate: Gatekeeper, **state: Any) -> None:
    """The configuration of the production overlay, but S3 and Amplitude are here; and one with SQLite.

    All event types are sent, and nobody is told.
    """
    settings = yaml.safe_load(_SETTINGS.read_text())
    for section in ("mapping", "budget", "metrics", "notify"):
        del settings[section]
    settings["source"] |= {"endpoint_url": gate.url, "start_at": "2026-10-01"}
    settings["amplitude"]["endpoint"] = place.amplitude.url
    settings["state"] |= state
    settings["quarantine"] |= state
    settings["workers"] = 2
    (place.folder / "config.yaml").write_text(yaml.safe_dump(settings))
    (place.folder / "disk.yaml").write_text(
        yaml.safe_dump({**settings, "state": {"uri": "sqlite:///disk.db"}})
    )


def upload(place: Workplace, s3: str, **more: Any) -> None:
    client: Any = boto3.client("s3", endpoint_url=s3)
    for path in place.files():
        key = f"currents/{path.relative_to(place.source).as_posix()}"
        client.put_object(Bucket="acme-currents", Key=key, Body=path.read_bytes(), **more)


def every_command(place: Workplace, s3: str) -> None:
    """All that the program does with S3: a beginning, from a disk into S3, runs, looks, what people do."""
    key = {"AMPLITUDE_API_KEY": KEY}

    def do(*arguments: str, **environ: str) -> None:
        result = place.do(*arguments, **key, **environ)
        assert result.code in {0, 3}, (arguments, result.code, result.out, result.err)

    def look(*arguments: str) -> None:
        # In this process: a new one takes most of a second to begin.
        result = CliRunner().invoke(cli, arguments, env={**key, **config}, standalone_mode=False)
        assert result.exception is None, (arguments, result.exception, result.output)

    config = {"BRAZE_ETL_CONFIG": str(place.folder / "config.yaml")}
    endpoint = yaml.safe_load((place.folder / "config.yaml").read_text())["source"]["endpoint_url"]
    written = str(place.folder / "written.yaml")
    look("init", "--source", "s3://acme-currents/currents", "--endpoint-url", endpoint, "-o", written)
    sample = f"s3://acme-currents/currents/{place.files()[0].relative_to(place.source).as_posix()}"
    do("run", BRAZE_ETL_CONFIG="disk.yaml")
    do("state", "copy", "disk.yaml", "config.yaml", BRAZE_ETL_STATE_CREATE="auto")
    place.export(**{**_FEW, "hours": 3}, seed=2, awkward=0.1)
    upload(place, s3)
    look("plan", "--exact")
    do("run")
    do("backfill", "--from", "2026-10-01", "--to", "2026-10-02", "--resend")
    look("status", "--refresh")
    look("report", "--output", "json")
    look("preview", sample)
    look("doctor")
    look("quarantine", "list")
    do("quarantine", "replay")
    look("erase", "--user", "customer-1")
    look("quarantine", "drop", "--all")
    look("state", "unlock", "--yes")


def test_a_full_run_needs_what_the_policies_give_and_nothing_besides(
    workplace: Workplace, behind: str
) -> None:
    given = grants("source.json", "state.json")
    workplace.export(**_FEW)
    upload(workplace, behind)
    with gatekeeper(behind, given) as gate:
        configure(workplace, gate)
        every_command(workplace, behind)
    assert gate.refused == set()
    assert unused(given, gate) == []


def test_with_keys_of_ones_own_the_statements_on_kms_are_needed_and_enough(
    workplace: Workplace, behind: str
) -> None:
    given = grants("source.json", "state.json", "kms.json")
    workplace.export(**_FEW)
    upload(workplace, behind, ServerSideEncryption="aws:kms", SSEKMSKeyId=_SOURCE_KEY)
    with gatekeeper(behind, given) as gate:
        configure(workplace, gate, kms_key_id=_STATE_KEY)
        run(workplace, BRAZE_ETL_STATE_CREATE="auto")
        run(workplace)
    assert gate.refused == set()
    assert [grant for grant in unused(given, gate) if grant.action.startswith("kms:")] == []


def test_without_one_of_the_rights_the_error_names_it(workplace: Workplace, behind: str) -> None:
    workplace.export(**_FEW)
    upload(workplace, behind)
    given = [each for each in grants("source.json", "state.json") if each.action != "s3:PutObject"]
    with gatekeeper(behind, given) as gate:
        configure(workplace, gate)
        result = workplace.do("run", AMPLITUDE_API_KEY=KEY, BRAZE_ETL_STATE_CREATE="auto")
    assert result.code == 1
    assert "s3:PutObject" in result.err


def test_a_ledger_that_is_gone_is_told_as_that_and_not_as_a_lack_of_rights(
    workplace: Workplace, behind: str
) -> None:
    with gatekeeper(behind, grants("source.json", "state.json")) as gate:
        configure(workplace, gate)
        result = workplace.do("run", AMPLITUDE_API_KEY=KEY)
    assert result.code == 2
    assert "There is no ledger" in result.err


def test_what_init_names_by_itself_lies_where_the_policy_reaches() -> None:
    given = grants("state.json")
    for place in places("s3://acme-state/currents", "acme-web", None):
        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
            assert allowed(Need(action, f"arn:aws:s3:::{bucket}/{prefix}/x"), given)
        assert allowed(Need("s3:ListBucket", f"arn:aws:s3:::{bucket}", f"{prefix}/"), given)


def test_the_source_is_only_read() -> None:
    verbs = {re.sub(r"s3:(Get|List).*", r"\1", grant.action) for grant in grants("source.json")}
    assert verbs == {"Get", "List"}


def test_the_role_may_be_taken_by_the_service_account_alone() -> None:
    (statement,) = policy("trust-eks.json")["Statement"]
    tests = statement["Condition"]["StringEquals"]
    assert {name.rpartition(":")[2]: value for name, value in tests.items()} == {
        "aud": "sts.amazonaws.com",
        "sub": ROLE_SUBJECT,
    }
    provider = statement["Principal"]["Federated"].partition("oidc-provider/")[2]
    assert all(name.startswith(f"{provider}:") for name in tests)


def run(place: Workplace, **environ: str) -> None:
    result = place.do("run", AMPLITUDE_API_KEY=KEY, **environ)
    assert result.code in {0, 3}, result.err


def unused(given: list[Grant], gate: Gatekeeper) -> list[Grant]:
    """What is given and was not needed: an action, a resource of it, or a prefix of a listing."""
    return [
        part for grant in given for part in grant.parts() if not any(part.covers(need) for need in gate.used)
    ]
