"""`braze-etl run` every 10 minutes, as an Airflow DAG (Airflow 3, provider `cncf.kubernetes` 10.9 or newer).

A DAG instead of the CronJob of configs/kubernetes/, never beside it. It needs in its namespace the service
account and the secret that are described there, a ConfigMap `braze-etl` with the key `braze-etl.yaml`, and
the rights of role.yaml for Airflow. Before 10.9.0 the provider gives the pod no grace period; before 10.5.0
it does not know `automount_service_account_token`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.secret import Secret
from airflow.sdk import DAG
from kubernetes.client import models as k8s

IMAGE = "registry.example.com/data/braze-etl:0.1.0"

with DAG(
    dag_id="braze_etl",
    description="Braze Currents files into Amplitude",
    schedule="*/10 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    # A run sends all that is due, whatever its age: there is no interval to catch up with.
    catchup=False,
    max_active_runs=1,
    tags=["braze", "amplitude"],
) as dag:
    # The operator has no parameter for enableServiceLinks: the pod's environment also names the services of
    # the namespace, and nothing reads that.
    KubernetesPodOperator(
        task_id="run",
        name="braze-etl",
        namespace="braze-etl",
        image=IMAGE,
        arguments=["run", "--max-runtime", "7m", "--ok-exit", "3,4", "--output", "json"],
        # 11: another run, or a backfill, is at work; nothing was touched.
        skip_on_exit_code=[11],
        # The next scheduled run is the retry.
        retries=0,
        active_deadline_seconds=580,
        execution_timeout=timedelta(seconds=595),
        termination_grace_period=90,
        on_finish_action="delete_succeeded_pod",
        service_account_name="braze-etl",
        automount_service_account_token=False,
        secrets=[
            Secret(
                deploy_type="env",
                deploy_target="AMPLITUDE_API_KEY",
                secret="braze-etl",  # noqa: S106 - the name of a secret, not its value
                key="AMPLITUDE_API_KEY",
            )
        ],
        env_vars={"BRAZE_ETL_CONFIG": "/etc/braze-etl/braze-etl.yaml"},
        # Whatever else the secret holds and the configuration names: a webhook, a salt.
        env_from=[k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name="braze-etl"))],
        container_resources=k8s.V1ResourceRequirements(
            requests={"cpu": "500m", "memory": "512Mi"}, limits={"cpu": "2", "memory": "1Gi"}
        ),
        security_context={
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        container_security_context={
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        volumes=[
            k8s.V1Volume(name="settings", config_map=k8s.V1ConfigMapVolumeSource(name="braze-etl")),
            k8s.V1Volume(name="tmp", empty_dir=k8s.V1EmptyDirVolumeSource(size_limit="512Mi")),
        ],
        volume_mounts=[
            k8s.V1VolumeMount(name="settings", mount_path="/etc/braze-etl", read_only=True),
            k8s.V1VolumeMount(name="tmp", mount_path="/tmp"),  # noqa: S108 - its own emptyDir
        ],
    )
