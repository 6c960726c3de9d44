"""The manifests of more than one machine: a scheduler beside the Job, and machines that look for it."""

from __future__ import annotations

import pickle
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import trustme

from braze_etl.engine.executors.machine import ship
from braze_etl.engine.executors.workers import parse_workers, scheduler_of
from braze_etl.flows.currents_to_amplitude.settings import load_config
from braze_etl.flows.currents_to_amplitude.worker import worker_spec
from tests.deploy.manifests import ROLE_SUBJECT, RunJob, containers, one, option, render
from tests.deploy.test_container import image, read_only, short
from tests.deploy.test_kubernetes import restricted, without_dask, written
from tests.s3_server import free_port
from tests.workplace import KEY, Workplace

__all__ = ["short"]

_CERTIFICATES = {"ca.crt", "tls.crt", "tls.key"}


@pytest.fixture(scope="module")
def machines() -> list[dict[str, Any]]:
    return render("machines")


@pytest.fixture(scope="module")
def job() -> list[dict[str, Any]]:
    return render("machines/backfill")


def worker(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """The pod of a machine."""
    spec: dict[str, Any] = one(objects, "Deployment")["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("version", ["1.29", "1.33", "1.37"])
def test_they_are_valid_for_old_and_new_clusters(machines: list[dict[str, Any]], version: str) -> None:
    for each in machines:
        kubernetes_validate.validate(each, version, strict=True)


def test_the_scheduler_lives_beside_the_job_and_ends_with_it(job: list[dict[str, Any]]) -> None:
    """A native side-car: an init container that is restarted, and that the Job does not wait for."""
    (scheduler,) = RunJob.of(job).pod["initContainers"]
    assert scheduler["restartPolicy"] == "Always"
    assert scheduler["command"] == ["dask", "scheduler"]
    assert scheduler["startupProbe"]["tcpSocket"]["port"] == int(option(scheduler["args"], "--port"))
    assert scheduler["image"] == RunJob.of(job).container["image"]


def test_the_job_and_its_machines_find_the_scheduler_at_its_port(
    job: list[dict[str, Any]], machines: list[dict[str, Any]]
) -> None:
    (beside,), (machine,) = RunJob.of(job).pod["initContainers"], worker(machines)["containers"]
    port, service = option(beside["args"], "--port"), one(machines, "Service")
    asked = scheduler_of(parse_workers(option(RunJob.of(job).args, "--workers")))
    assert asked is not None
    assert asked.address == f"{option(beside['args'], '--protocol')}://127.0.0.1:{port}"
    assert machine["command"] == ["dask", "worker", f"tls://{service['metadata']['name']}:{port}"]
    assert [each["port"] for each in service["spec"]["ports"]] == [int(port)]
    labels = one(job, "Job")["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"]


def test_nobody_but_these_pods_reaches_the_ports_where_code_is_run(
    job: list[dict[str, Any]], machines: list[dict[str, Any]]
) -> None:
    policy, (machine,) = one(machines, "NetworkPolicy")["spec"], worker(machines)["containers"]
    (rule,) = policy["ingress"]
    ports = {str(each["port"]) for each in rule["ports"]}
    (beside,) = RunJob.of(job).pod["initContainers"]
    assert ports == {option(beside["args"], "--port"), option(machine["args"], "--worker-port")}
    assert rule["from"] == [{"podSelector": policy["podSelector"]}]
    for pods in (one(job, "Job"), one(machines, "Deployment")):
        labels = pods["spec"]["template"]["metadata"]["labels"]
        assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    for container in (beside, machine):
        assert option(container["args"], "--dashboard-address") == "127.0.0.1:0"


def test_every_connection_is_encrypted_and_the_certificates_are_where_dask_looks(
    job: list[dict[str, Any]], machines: list[dict[str, Any]]
) -> None:
    for objects, pod in ((job, RunJob.of(job).pod), (machines, worker(machines))):
        (given,) = [each for each in objects if "dask" in each["metadata"]["name"] and "data" in each]
        assert given["data"]["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] == "true"
        files = {name: value for name, value in given["data"].items() if "COMM__TLS" in name}
        assert {value.rpartition("/")[2] for value in files.values()} == _CERTIFICATES
        assert len(files) == 7
        (volume,) = [each for each in pod["volumes"] if "secret" in each]
        for container in containers(pod):
            (mount,) = [each for each in container["volumeMounts"] if each["name"] == volume["name"]]
            assert {value.rpartition("/")[0] for value in files.values()} == {mount["mountPath"]}
            assert {"configMapRef": {"name": given["metadata"]["name"]}} in container["envFrom"]


def test_a_machine_may_do_no_more_than_a_run_and_is_no_account_of_the_state(
    machines: list[dict[str, Any]],
) -> None:
    pod, account = worker(machines), one(machines, "ServiceAccount")["metadata"]
    restricted(pod)
    assert [*without_dask(pod["volumes"])] == [{"name": "tmp", "emptyDir": {"sizeLimit": "2Gi"}}]
    assert pod["serviceAccountName"] == account["name"]
    assert account["name"] != ROLE_SUBJECT.rpartition(":")[2]
    assert account["annotations"]["eks.amazonaws.com/role-arn"].endswith("-worker")
    (machine,) = pod["containers"]
    assert {"secretRef": {"name": "braze-etl"}} in machine["envFrom"]
    assert (
        machine["resources"]["limits"].keys() == machine["resources"]["requests"].keys() == {"cpu", "memory"}
    )


def test_there_are_none_until_they_are_asked_for(
    job: list[dict[str, Any]], machines: list[dict[str, Any]]
) -> None:
    deployment = one(machines, "Deployment")["spec"]
    assert deployment["replicas"] == 0
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"].items() <= labels.items()
    assert one(job, "Job")["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"] == "job"
    assert worker(machines)["containers"][0]["image"] == RunJob.of(job).container["image"]


def test_the_configuration_of_the_job_travels_without_a_secret_and_needs_what_the_secret_holds(
    job: list[dict[str, Any]], tmp_path: Path
) -> None:
    told = {"AMPLITUDE_API_KEY": KEY, "NOTIFY_WEBHOOK": "https://hooks.example.com/s3cret"}
    unresolved = load_config(written(job, tmp_path), told).unresolved
    shipment = ship(worker_spec(unresolved, keep_payloads=False, rationed=False), unresolved, told)
    assert not [value for value in told.values() if value.encode() in pickle.dumps(shipment)]
    assert shipment.unfit(told) is None
    lacking = shipment.unfit({"AMPLITUDE_API_KEY": KEY})
    assert lacking is not None
    assert "NOTIFY_WEBHOOK" in lacking.cause


def test_scheduler_and_machine_find_each_other_on_a_root_that_is_only_read(
    workplace: Workplace, short: Path, job: list[dict[str, Any]], machines: list[dict[str, Any]]
) -> None:
    (beside,), (machine,) = RunJob.of(job).pod["initContainers"], worker(machines)["containers"]
    (given,) = [each["data"] for each in machines if "dask" in each["metadata"]["name"] and "data" in each]
    certificates(workplace.folder)
    environ = {
        name: value.replace("/etc/braze-etl-dask", str(workplace.folder)) for name, value in given.items()
    }
    ports = {"8786": str(free_port()), "8790": str(free_port())}

    def started(container: dict[str, Any]) -> subprocess.Popen[str]:
        line = shlex.join([*container["command"], *container["args"]])
        for manifests, here in {
            **ports,
            "$(POD_IP)": "127.0.0.1",
            "braze-etl-scheduler": "127.0.0.1",
        }.items():
            line = line.replace(manifests, here)
        command = shlex.split(line.replace("/tmp/", f"{short}/"))
        command[0] = str(Path(sys.executable).with_name(command[0]))
        return workplace.start(command=read_only(workplace.folder, short, command), **image(short), **environ)

    started(beside)
    log = started(machine).stderr
    assert log is not None
    assert any(f"Registered to: tls://127.0.0.1:{ports['8786']}" in " ".join(line.split()) for line in log)


def certificates(folder: Path) -> None:
    """Those of the secret: of an authority, and of one name that scheduler, machines and job share."""
    authority = trustme.CA()
    leaf = authority.issue_cert("braze-etl-dask")
    authority.cert_pem.write_to_path(folder / "ca.crt")
    leaf.cert_chain_pems[0].write_to_path(folder / "tls.crt")
    leaf.private_key_pem.write_to_path(folder / "tls.key")
