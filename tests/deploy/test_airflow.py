"""configs/airflow/: run as code, against stand-ins for Airflow and its client of Kubernetes.

Airflow itself is not installed here. The stand-ins take the parameters that its documentation lists
(Airflow 3, provider cncf.kubernetes 10) and no others; what Airflow makes of them is not tested.
"""

from __future__ import annotations

import runpy
import sys
from datetime import timedelta
from types import ModuleType
from typing import Any, Self

import pytest

from braze_etl import __version__
from tests.deploy.manifests import CONFIGS, Pass, image_parts, option, render

_OPERATOR = [
    "task_id",
    "retries",
    "execution_timeout",
    "name",
    "namespace",
    "image",
    "arguments",
    "env_vars",
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
    runpy.run_path(str(CONFIGS / "airflow/braze_etl_dag.py"))
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
    deadline, grace = task["active_deadline_seconds"], task["termination_grace_period"]
    assert option(task["arguments"], "--max-runtime") == "8m"
    assert deadline - grace > 8 * 60
    assert timedelta(seconds=deadline) < task["execution_timeout"] < timedelta(minutes=10)
    assert made["DAG"].given["schedule"] == "*/10 * * * *"


def test_its_pod_is_that_of_the_cron_job(made: dict[str, Made]) -> None:
    task, cron = made["KubernetesPodOperator"].given, Pass.of(render("production"))
    assert task["arguments"] == cron.args
    assert task["image"] == cron.container["image"]
    assert image_parts(task["image"])[1] == __version__
    assert task["security_context"] == cron.pod["securityContext"]
    assert task["container_security_context"] == cron.container["securityContext"]
    assert task["container_resources"].given == cron.container["resources"]
    assert task["service_account_name"] == cron.pod["serviceAccountName"]
    assert task["termination_grace_period"] == cron.pod["terminationGracePeriodSeconds"]
    assert task["env_vars"].items() <= cron.env.items()
    mounts = {each.given["name"]: each.given["mount_path"] for each in task["volume_mounts"]}
    assert mounts == {each["name"]: each["mountPath"] for each in cron.container["volumeMounts"]}


def test_the_key_comes_from_the_secret(made: dict[str, Made]) -> None:
    assert made["Secret"].given == {
        "deploy_type": "env",
        "deploy_target": "AMPLITUDE_API_KEY",
        "secret": "braze-etl",
        "key": "AMPLITUDE_API_KEY",
    }
