"""docs/deployment.md names what is there."""

from __future__ import annotations

import re

import pytest

from tests.deploy.manifests import BY_HAND, CONFIGS, ROOT, one, render

_PAGE = (ROOT / "docs/deployment.md").read_text()
_FOLDERS = (
    *("account", "base", "job", "machines", "components/external-secret", "components/dask"),
    *("overlays/production", "overlays/production/machines"),
)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\b(?:configs|tests)/[\w./-]*\w", _PAGE))))
def test_every_path_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_every_example_is_named() -> None:
    for name in ("cron", "aws", "airflow"):
        for path in (CONFIGS / name).glob("*[!_]"):
            assert f"{path.name}`" in _PAGE
    for folder in [*_FOLDERS, *(f"overlays/production/{name}" for name in BY_HAND)]:
        assert f"`{folder}/`" in _PAGE


@pytest.mark.parametrize("name", BY_HAND)
def test_a_job_by_hand_is_applied_followed_and_deleted_by_its_name(name: str) -> None:
    job = one(render(name), "Job")["metadata"]["name"]
    assert f"apply -k configs/kubernetes/overlays/production/{name}" in _PAGE
    assert f"delete job {job}" in _PAGE
    assert name == "backfill" or re.search(rf"logs --follow [^\n]*job/{job}\b", _PAGE)
