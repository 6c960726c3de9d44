"""The manifests of configs/kubernetes/, as kubectl renders them."""

from __future__ import annotations

import re
import shutil
import subprocess
import warnings
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from braze_etl.clock import parse_duration
from braze_etl.flows.currents_to_amplitude.settings import Settings

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
KUBERNETES = CONFIGS / "kubernetes"
PRODUCTION = KUBERNETES / "overlays/production"
RENDERED = {
    "production": PRODUCTION,
    "backfill": PRODUCTION / "backfill",
    "first-run": PRODUCTION / "first-run",
    "command": PRODUCTION / "command",
    "machines/backfill": PRODUCTION / "machines/backfill",
    "verify": PRODUCTION / "verify",
}
BY_HAND = tuple(name for name in RENDERED if name not in {"production", "verify"})
MACHINES = PRODUCTION / "machines"
ROLE_SUBJECT = "system:serviceaccount:braze-etl:braze-etl"


def skip_without(*tools: str) -> None:
    """Skip the test that needs these programs where one is missing, and say so among the warnings."""
    if missing := [tool for tool in tools if shutil.which(tool) is None]:
        words = f"{' and '.join(missing)} not installed: what needs it is not tested here"
        warnings.warn(words, stacklevel=2)
        pytest.skip(words)


def render(name: str, *, root: Path = KUBERNETES) -> list[dict[str, Any]]:
    """The objects of a kustomization, by `kubectl kustomize`, which needs no cluster; *root*: of a copy."""
    skip_without("kubectl")
    folder = RENDERED.get(name, PRODUCTION / name)
    command = ["kubectl", "kustomize", str(root / folder.relative_to(KUBERNETES))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return documents(done.stdout)


def switched_on(path: Path, first: str, lines: int) -> None:
    """Take the `#` away from so many lines of a file, the first of which begins with *first* behind it."""
    text = path.read_text().splitlines(keepends=True)
    (start,) = [number for number, line in enumerate(text) if line.lstrip().startswith(f"# {first}")]
    for number in range(start, start + lines):
        text[number] = text[number].replace("# ", "", 1)
    path.write_text("".join(text))


def longest_stop(settings: Settings) -> timedelta:
    """The longest that a run goes on after SIGTERM, with all that can be configured.

    Requests in flight have `amplitude.timeout` and two seconds; gateway, webhook and dead man's switch have
    theirs to connect, and again to answer; 20 s are for what is settled in between.
    """
    gateway, notify = settings.metrics.pushgateway.timeout, settings.notify.timeout
    return settings.amplitude.timeout + timedelta(seconds=22) + 2 * gateway + 2 * 2 * notify


def documents(text: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(text) if each]


def one(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The only object of that kind."""
    (found,) = [each for each in objects if each["kind"] == kind]
    return found


def configuration(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """The ConfigMap that holds the configuration."""
    (found,) = [each for each in objects if "braze-etl.yaml" in each.get("data", ())]
    return found


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that do the work of a pod, and those beside them."""
    return [*pod.get("initContainers", ()), *pod["containers"]]


@dataclass(frozen=True)
class RunJob:
    """A Job that does one run of braze-etl, from a Job or from the template of a CronJob."""

    job: dict[str, Any]

    @classmethod
    def of(cls, objects: list[dict[str, Any]]) -> RunJob:
        cron = [each["spec"]["jobTemplate"] for each in objects if each["kind"] == "CronJob"]
        return cls((cron or [one(objects, "Job")])[0]["spec"])

    @property
    def pod(self) -> dict[str, Any]:
        spec: dict[str, Any] = self.job["template"]["spec"]
        return spec

    @property
    def container(self) -> dict[str, Any]:
        (container,) = self.pod["containers"]
        found: dict[str, Any] = container
        return found

    @property
    def env(self) -> dict[str, Any]:
        return {each["name"]: each.get("value", each.get("valueFrom")) for each in self.container["env"]}

    @property
    def args(self) -> list[str]:
        args: list[str] = self.container["args"]
        return args

    @property
    def max_runtime(self) -> timedelta:
        return parse_duration(option(self.args, "--max-runtime"))

    @property
    def grace(self) -> timedelta:
        return timedelta(seconds=self.pod["terminationGracePeriodSeconds"])

    @property
    def deadline(self) -> timedelta:
        return timedelta(seconds=self.job["activeDeadlineSeconds"])


def option(args: list[str], name: str) -> str:
    """The value of a command line's option."""
    return args[args.index(name) + 1]


def image_parts(image: str) -> tuple[str, str]:
    """The name of an image and what pins it, a tag or a digest; empty if nothing does."""
    match = re.fullmatch(r"(?P<name>.+?)(?:@(?P<digest>sha256:[0-9a-f]{64})|:(?P<tag>[^/:]+))?", image)
    assert match is not None
    return match["name"], match["digest"] or match["tag"] or ""
