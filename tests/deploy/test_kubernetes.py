"""configs/kubernetes/: valid by the schemas of Kubernetes, and sound where no schema looks."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner
from cronsim import CronSim

from braze_etl import __version__
from braze_etl.cli import cli
from braze_etl.flows.currents_to_amplitude.settings import load_config
from tests.deploy.manifests import (
    BY_HAND,
    CONFIGS,
    KUBERNETES,
    RENDERED,
    ROLE_SUBJECT,
    ROOT,
    RunJob,
    configuration,
    containers,
    documents,
    image_parts,
    longest_stop,
    one,
    option,
    render,
    switched_on,
)
from tests.docs.pages import resolved

_OLDEST, _NEWEST = "1.29", "1.37"
_PLAIN = [
    KUBERNETES / name
    for name in ("account/serviceaccount.yaml", "base/cronjob.yaml", "job/job.yaml", "machines/worker.yaml")
]
_START = timedelta(minutes=1)
_COMMAND = RENDERED["command"] / "kustomization.yaml"


@pytest.fixture(params=RENDERED)
def objects(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return render(request.param)


@pytest.fixture
def scheduled() -> list[dict[str, Any]]:
    return render("production")


def intervals(expression: str) -> Iterator[timedelta]:
    """The pauses between the next hundred starts."""
    starts = itertools.islice(CronSim(expression, datetime(2026, 2, 27, tzinfo=UTC)), 100)
    return (later - earlier for earlier, later in itertools.pairwise(starts))


@pytest.mark.parametrize("version", [_OLDEST, _NEWEST])
def test_what_is_rendered_is_valid_for_old_and_new_clusters(
    objects: list[dict[str, Any]], version: str
) -> None:
    for each in objects:
        kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize("path", _PLAIN, ids=lambda path: path.name)
def test_what_it_is_rendered_from_is_valid_too(path: Path) -> None:
    (document,) = documents(path.read_text())
    kubernetes_validate.validate(document, _NEWEST, strict=True)


def test_every_run_is_begun_once_and_is_not_repeated_by_kubernetes(objects: list[dict[str, Any]]) -> None:
    run = RunJob.of(objects)
    assert run.job["backoffLimit"] == 0
    assert run.pod["restartPolicy"] == "Never"
    assert run.job["ttlSecondsAfterFinished"] > 0


@pytest.mark.parametrize("name", BY_HAND)
def test_a_job_by_hand_that_meets_another_run_is_started_again(name: str) -> None:
    (rule,) = RunJob.of(render(name)).job["podFailurePolicy"]["rules"]
    assert rule == {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [11]}}


def test_scheduled_runs_do_not_overlap_and_their_history_is_bounded(scheduled: list[dict[str, Any]]) -> None:
    spec = one(scheduled, "CronJob")["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["timeZone"] == "Etc/UTC"
    # Below 10 s, the controller, which looks every 10 s, may miss a start (Kubernetes, "CronJob").
    assert 10 < spec["startingDeadlineSeconds"] < min(intervals(spec["schedule"])).total_seconds()
    assert 0 < spec["successfulJobsHistoryLimit"] < spec["failedJobsHistoryLimit"]


def test_a_scheduled_run_ends_by_itself_though_its_node_and_image_took_a_minute(
    scheduled: list[dict[str, Any]],
) -> None:
    run = RunJob.of(scheduled)
    assert _START + run.max_runtime + run.grace < run.deadline
    assert run.max_runtime < min(intervals(one(scheduled, "CronJob")["spec"]["schedule"]))
    assert option(run.args, "--ok-exit") == "3,4"


@pytest.mark.parametrize("name", ["first-run", "backfill", "machines/backfill"])
def test_a_run_by_hand_ends_by_itself_too(name: str) -> None:
    by_hand = RunJob.of(render(name))
    assert by_hand.max_runtime < by_hand.deadline - by_hand.grace


def test_a_verification_is_made_once_a_day_beside_the_runs_and_has_room_for_an_export(
    scheduled: list[dict[str, Any]],
) -> None:
    daily = render("verify")
    cron, verification = one(daily, "CronJob"), RunJob.of(daily)
    assert cron["metadata"]["name"] != one(scheduled, "CronJob")["metadata"]["name"]
    assert set(intervals(cron["spec"]["schedule"])) == {timedelta(days=1)}
    assert cron["spec"]["startingDeadlineSeconds"] + verification.deadline.total_seconds() < 86400
    (tmp,) = (volume for volume in verification.pod["volumes"] if volume["name"] == "tmp")
    assert tmp["emptyDir"]["sizeLimit"] == "10Gi"
    for kind in ("ConfigMap", "ServiceAccount"):
        assert one(daily, kind) == one(scheduled, kind)
    assert verification.container["image"] == RunJob.of(scheduled).container["image"]


def test_there_is_time_to_settle_what_is_in_flight_and_to_tell_everybody(
    objects: list[dict[str, Any]], tmp_path: Path
) -> None:
    settings = load_config(written(objects, tmp_path)).settings
    assert RunJob.of(objects).grace > longest_stop(settings)


def test_the_image_is_pinned_to_this_version(objects: list[dict[str, Any]]) -> None:
    name, pin = image_parts(RunJob.of(objects).container["image"])
    assert "/" in name
    assert pin.startswith("sha256:") or pin == __version__


def test_a_pod_may_do_nothing_that_it_does_not_need(objects: list[dict[str, Any]]) -> None:
    """The profile `restricted` of the Pod Security Standards, and a root file system that is only read."""
    restricted(RunJob.of(objects).pod)


def restricted(pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(pod):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert pod["automountServiceAccountToken"] is False
    assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}
    assert all(volume.keys() & {"configMap", "emptyDir"} for volume in without_dask(pod["volumes"]))


def without_dask(things: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a run has without other machines, too."""
    return [each for each in things if "braze-etl-dask" not in str(each)]


def test_memory_and_processors_are_bounded(objects: list[dict[str, Any]]) -> None:
    for container in containers(RunJob.of(objects).pod):
        resources = container["resources"]
        assert resources["limits"].keys() == resources["requests"].keys() == {"cpu", "memory"}


def test_what_a_pod_names_is_there(objects: list[dict[str, Any]]) -> None:
    run = RunJob.of(objects)
    maps = {each["metadata"]["name"] for each in objects if each["kind"] == "ConfigMap"}
    named = {v["name"]: v["configMap"]["name"] for v in run.pod["volumes"] if "configMap" in v}
    given = {each["configMapRef"]["name"] for each in run.container["envFrom"] if "configMapRef" in each}
    assert {*named.values(), *given} == maps
    mounts = {mount["name"]: mount["mountPath"] for mount in run.container["volumeMounts"]}
    assert mounts.keys() == {volume["name"] for volume in run.pod["volumes"]}
    folder, _, file = run.env["BRAZE_ETL_CONFIG"].rpartition("/")
    assert folder == mounts["settings"]
    assert file in configuration(objects)["data"]
    assert mounts["tmp"] == "/tmp"


def test_the_account_is_that_of_the_role(objects: list[dict[str, Any]]) -> None:
    account = one(objects, "ServiceAccount")["metadata"]
    assert RunJob.of(objects).pod["serviceAccountName"] == account["name"]
    assert f"system:serviceaccount:{account['namespace']}:{account['name']}" == ROLE_SUBJECT
    assert account["annotations"]["eks.amazonaws.com/role-arn"].startswith("arn:aws:iam::")


def test_jobs_by_hand_share_settings_image_and_account_with_the_schedule(
    scheduled: list[dict[str, Any]],
) -> None:
    for name in BY_HAND:
        by_hand = render(name)
        assert configuration(by_hand) == configuration(scheduled)
        assert one(by_hand, "ServiceAccount") == one(scheduled, "ServiceAccount")
        ours, theirs = RunJob.of(by_hand), RunJob.of(scheduled)
        for same in ("image", "securityContext"):
            assert ours.container[same] == theirs.container[same]
        for same in ("serviceAccountName", "securityContext", "terminationGracePeriodSeconds"):
            assert ours.pod[same] == theirs.pod[same]
        for same in ("volumeMounts", "envFrom"):
            assert without_dask(ours.container[same]) == theirs.container[same]
        assert without_dask(ours.pod["volumes"]) == theirs.pod["volumes"]


def test_every_variable_of_the_configuration_is_given_and_the_key_comes_from_a_secret(
    objects: list[dict[str, Any]], tmp_path: Path
) -> None:
    env = RunJob.of(objects).env
    plain = {name: value for name, value in env.items() if isinstance(value, str)}
    secrets = {name: value["secretKeyRef"] for name, value in env.items() if not isinstance(value, str)}
    config = load_config(written(objects, tmp_path), {**plain, **dict.fromkeys(secrets, "secret")})
    assert config.unset == {}
    assert secrets == {"AMPLITUDE_API_KEY": {"name": "braze-etl", "key": "AMPLITUDE_API_KEY"}}


def test_what_else_the_secret_holds_reaches_the_configuration(
    objects: list[dict[str, Any]], tmp_path: Path
) -> None:
    given = RunJob.of(objects).container["envFrom"]
    assert without_dask(given) == [{"secretRef": {"name": "braze-etl"}}]
    path, webhook = written(objects, tmp_path), "https://hooks.example.com/1"
    assert load_config(path, {}).settings.notify.webhook is None
    told = load_config(path, {"NOTIFY_WEBHOOK": webhook}).settings.notify.webhook
    assert told is not None
    assert told.get_secret_value() == webhook


@pytest.mark.parametrize("name", RENDERED)
def test_the_operator_of_secrets_is_switched_on_in_one_place_for_the_schedule_and_every_job(
    name: str, copied: Path
) -> None:
    switched_on(copied / "overlays/production/settings/kustomization.yaml", "components:", lines=2)
    objects = render(name, root=copied)
    secret = one(objects, "ExternalSecret")
    plain = one(objects, "ServiceAccount")["metadata"]
    assert secret["metadata"]["namespace"] == plain["namespace"] == "braze-etl"
    assert secret["metadata"]["labels"] == plain["labels"]
    assert secret["spec"]["target"]["name"] == "braze-etl"


def test_a_first_run_can_be_confirmed(copied: Path) -> None:
    switched_on(copied / "overlays/production/first-run/kustomization.yaml", "- op: add", lines=3)
    args = RunJob.of(render("first-run", root=copied)).args
    assert args[0] == "run"
    assert args[-1] == "--confirm-first-run"
    understood("first-run", args)


def test_a_registry_that_asks_who_pulls_is_told_by_the_account(copied: Path) -> None:
    switched_on(copied / "account/serviceaccount.yaml", "imagePullSecrets:", lines=2)
    account = one(render("command", root=copied), "ServiceAccount")
    kubernetes_validate.validate(account, _NEWEST, strict=True)
    assert account["imagePullSecrets"] == [{"name": "registry"}]


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The manifests, to be changed."""
    return shutil.copytree(KUBERNETES, tmp_path / "kubernetes")


def test_the_secret_is_made_by_the_operator_of_secrets_or_by_the_command_of_the_documentation() -> None:
    made = yaml.safe_load((KUBERNETES / "components/external-secret/externalsecret.yaml").read_text())
    assert made["spec"]["target"]["name"] == "braze-etl"
    assert [each["secretKey"] for each in made["spec"]["data"]] == ["AMPLITUDE_API_KEY"]
    page = (ROOT / "docs/deployment.md").read_text()
    assert "create secret generic braze-etl --from-literal=AMPLITUDE_API_KEY=" in page


def test_the_configuration_passes_its_check(objects: list[dict[str, Any]], tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["config", "check", "-c", str(written(objects, tmp_path))])
    assert "is valid" in result.output


def test_only_the_first_run_may_create_a_ledger(tmp_path: Path) -> None:
    for name in RENDERED:
        objects = render(name)
        plain = {key: value for key, value in RunJob.of(objects).env.items() if isinstance(value, str)}
        settings = load_config(written(objects, tmp_path), plain).settings
        assert settings.state.create == ("auto" if name == "first-run" else "never")
        assert settings.state.uri.startswith("s3://")
        assert settings.quarantine.uri.startswith("s3://")


@pytest.mark.parametrize("name", RENDERED)
def test_every_command_line_is_one_that_the_program_knows(name: str) -> None:
    params = understood(name, RunJob.of(render(name)).args)
    assert ("max_runtime" in params) == (name not in {"command", "verify"})


@pytest.mark.parametrize("line", re.findall(r"\[([a-z][^]]*)\]", _COMMAND.read_text()))
def test_the_commands_that_are_offered_for_a_job_exist(line: str) -> None:
    understood("command", yaml.safe_load(f"[{line}]"))


def understood(name: str, args: list[str]) -> dict[str, Any]:
    """What click reads in a command line; fails where there is no such command or option."""
    command, rest = resolved(args)
    with command.make_context(name, list(rest)) as context:
        return context.params


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*/*.y*ml")), ids=lambda path: path.name)
def test_no_configuration_holds_a_key(path: Path) -> None:
    for line in path.read_text().splitlines():
        if "api_key:" in line:
            assert line.split("#")[0].rstrip().endswith("${AMPLITUDE_API_KEY}")


def written(objects: list[dict[str, Any]], folder: Path) -> Path:
    """The configuration of the ConfigMap, as the pod sees it."""
    path = folder / "braze-etl.yaml"
    path.write_text(configuration(objects)["data"]["braze-etl.yaml"])
    return path
