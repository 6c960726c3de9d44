"""docs/deployment.md names what is there."""

from __future__ import annotations

import re

import pytest

from tests.deploy.manifests import CONFIGS, ROOT

_PAGE = (ROOT / "docs/deployment.md").read_text()
_FOLDERS = ("account", "base", "job", "components/external-secret", "overlays/production")


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\b(?:configs|tests)/[\w./-]*\w", _PAGE))))
def test_every_path_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_every_example_is_named() -> None:
    for name in ("cron", "aws"):
        for path in (CONFIGS / name).iterdir():
            assert f"`{path.name}`" in _PAGE
    for folder in _FOLDERS:
        assert f"`{folder}/`" in _PAGE
