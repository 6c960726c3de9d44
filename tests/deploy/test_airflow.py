"""configs/airflow/: run as code, against stand-ins for Airflow and its client of Kubernetes.

Airflow itself is not installed here. The stand-ins take the parameters that its documentation lists
(Airflow 3, provider cncf.kubernetes 10.9) and no others; what Airflow makes of them is not tested.
"""

from __future__ import annotations

import runpy
import sys
from datetime import timedelta
from types import ModuleType
from typing import Any, Self

import kubernetes_validate
import pytest

from braze_etl import __version__
from braze_etl.clock import parse_duration
from tests.deploy.manifests import CONFIGS, RunJob, documents, image_parts, one, option, render

DAG_FILE = CONFIGS / "airflow/braze_etl_dag.py"
_OPERATOR = [
    "task_id",
    "retries",
    "execution_timeout",
    "name",
    "namespace",
    "image",
    "arguments",
    "env_vars",
    "env_from",
    "secrets",
    "volumes",
    "volume_mounts",
    "service_account_name",
    "automount_service_account_token",
    "security_context",
    "container_security_context",
    "container_resources",
    "termination_grace_period",
    "active_deadline_seconds",
    "skip_on_exit_code",
    "on_finish_action",
]
_DAG = ["dag_id", "description", "schedule", "start_date", "catchup", "max_active_runs", "tags"]
_SECRET = ["deploy_type", "deploy_target", "secret", "key", "items"]
_MODELS = {
    "V1ResourceRequirements": ["limits", "requests", "claims"],
    "V1Volume": ["name", "config_map", "empty_dir"],
    "V1ConfigMapVolumeSource": ["name", "items", "default_mode", "optional"],
    "V1EmptyDirVolumeSource": ["medium", "size_limit"],
    "V1EnvFromSource": ["prefix", "secret_ref", "config_map_ref"],
    "V1SecretEnvSource": ["name", "optional"],
    "V1VolumeMount": ["name", "mount_path", "read_only", "sub_path"],
}


class Made:
    """What was made of a class of Airflow's: its name, and what it was given."""

    def __init__(self, name: str, given: dict[str, Any]) -> None:
        self.name, self.given = name, given

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        pass


class Recorder:
    """Stands for a class; knows its parameters, and remembers what was made."""

    def __init__(self, name: str, parameters: list[str], made: list[Made]) -> None:
        self._name, self._parameters, self._made = name, set(parameters), made

    def __call__(self, **given: Any) -> Made:
        assert given.keys() <= self._parameters, given.keys() - self._parameters
        made = Made(self._name, given)
        self._made.append(made)
        return made


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Made]:
    """What the file makes when Airflow reads it, by class."""
    record: list[Made] = []

    def module(name: str, **classes: list[str]) -> None:
        stand_in = ModuleType(name)
        for each, parameters in classes.items():
            setattr(stand_in, each, Recorder(each, parameters, record))
        monkeypatch.setitem(sys.modules, name, stand_in)

    for parent in ("", ".providers", ".providers.cncf", ".providers.cncf.kubernetes"):
        module(f"airflow{parent}")
    module("airflow.providers.cncf.kubernetes.operators")
    module("airflow.providers.cncf.kubernetes.operators.pod", KubernetesPodOperator=_OPERATOR)
    module("airflow.providers.cncf.kubernetes.secret", Secret=_SECRET)
    module("airflow.sdk", DAG=_DAG)
    module("kubernetes")
    module("kubernetes.client.models", **_MODELS)
    client = ModuleType("kubernetes.client")
    client.models = sys.modules["kubernetes.client.models"]  # type: ignore[attr-defined] # made up
    monkeypatch.setitem(sys.modules, "kubernetes.client", client)
    runpy.run_path(str(DAG_FILE))
    return {each.name: each for each in record}


def test_runs_do_not_overlap_and_none_is_made_up_for(made: dict[str, Made]) -> None:
    dag, task = made["DAG"].given, made["KubernetesPodOperator"].given
    assert dag["catchup"] is False
    assert dag["max_active_runs"] == 1
    assert dag["start_date"].tzinfo is not None
    assert task["retries"] == 0


def test_exit_codes_are_green_skipped_or_red(made: dict[str, Made]) -> None:
    task = made["KubernetesPodOperator"].given
    assert option(task["arguments"], "--ok-exit") == "3,4"
    assert task["skip_on_exit_code"] == [11]


def test_a_run_ends_by_itself_before_its_deadline_and_the_next_start(made: dict[str, Made]) -> None:
    task = made["KubernetesPodOperator"].given
    deadline = timedelta(seconds=task["active_deadline_seconds"])
    grace = timedelta(seconds=task["termination_grace_period"])
    start = timedelta(minutes=1)  # of a node, and of the image
    assert start + parse_duration(option(task["arguments"], "--max-runtime")) + grace < deadline
    assert deadline < task["execution_timeout"] < timedelta(minutes=10)
    assert made["DAG"].given["schedule"] == "*/10 * * * *"


def test_its_pod_is_that_of_the_cron_job(made: dict[str, Made]) -> None:
    task, cron = made["KubernetesPodOperator"].given, RunJob.of(render("production"))
    assert task["arguments"] == cron.args
    assert task["image"] == cron.container["image"]
    assert image_parts(task["image"])[1] == __version__
    assert task["security_context"] == cron.pod["securityContext"]
    assert task["container_security_context"] == cron.container["securityContext"]
    assert task["container_resources"].given == cron.container["resources"]
    assert task["service_account_name"] == cron.pod["serviceAccountName"]
    assert task["termination_grace_period"] == cron.pod["terminationGracePeriodSeconds"]
    assert task["active_deadline_seconds"] == cron.job["activeDeadlineSeconds"]
    assert task["env_vars"].items() <= cron.env.items()
    (source,) = task["env_from"]
    assert [{"secretRef": source.given["secret_ref"].given}] == cron.container["envFrom"]
    sizes = [each.given["empty_dir"].given for each in task["volumes"] if "empty_dir" in each.given]
    assert sizes == [{"size_limit": each["emptyDir"]["sizeLimit"]} for each in cron.pod["volumes"][1:]]
    mounts = {each.given["name"]: each.given["mount_path"] for each in task["volume_mounts"]}
    assert mounts == {each["name"]: each["mountPath"] for each in cron.container["volumeMounts"]}


def test_nothing_of_the_pod_is_left_to_chance_but_what_the_operator_can_not_say() -> None:
    """Keys of the CronJob's pod and container, each of which the test above compares or the operator sets."""
    cron = RunJob.of(render("production"))
    said = {"serviceAccountName", "automountServiceAccountToken", "terminationGracePeriodSeconds"}
    said |= {"securityContext", "containers", "volumes", "restartPolicy"}
    assert cron.pod.keys() - said == {"enableServiceLinks"}
    said = {"name", "image", "args", "env", "envFrom", "resources", "securityContext", "volumeMounts"}
    assert cron.container.keys() == said
    assert "enableServiceLinks" in DAG_FILE.read_text()


def test_airflow_may_run_pods_in_the_namespace_and_no_more() -> None:
    role, binding = documents((CONFIGS / "airflow/role.yaml").read_text())
    for each in (role, binding):
        kubernetes_validate.validate(each, "1.37", strict=True)
        assert (
            each["metadata"]["namespace"]
            == one(render("production"), "ServiceAccount")["metadata"]["namespace"]
        )
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    rights = {resource: rule["verbs"] for rule in role["rules"] for resource in rule["resources"]}
    assert rights == {
        "pods": ["create", "get", "list", "watch", "patch", "delete"],
        "pods/log": ["get"],
        "events": ["list", "watch"],
    }


def test_the_key_comes_from_the_secret(made: dict[str, Made]) -> None:
    assert made["Secret"].given == {
        "deploy_type": "env",
        "deploy_target": "AMPLITUDE_API_KEY",
        "secret": "braze-etl",
        "key": "AMPLITUDE_API_KEY",
    }
