"""The commands of docs/deployment.md that install it, from the checkout into an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

from braze_etl import __version__
from tests.docs.pages import PAGES, ROOT, blocks, name

_PREFIX = "/opt/braze-etl"


def commands() -> list[str]:
    """The lines of the block that installs it."""
    (block,) = [each for each in blocks(ROOT / "docs/deployment.md") if "-m venv" in each.text]
    return block.text.splitlines()


def test_the_commands_of_the_page_install_it_with_the_pinned_versions(tmp_path: Path) -> None:
    """Without a network: the libraries are those of the tests' environment, and pip looks at each of them."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PIP"))}
    environ |= {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    for line in commands():
        here = line.replace(_PREFIX, str(tmp_path)).replace("pip install", "pip install --no-build-isolation")
        done = subprocess.run(
            ["sh", "-c", here], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (here, done.stderr)
        if "-m venv" in line:
            site = next((tmp_path / "lib").glob("python*")) / "site-packages"
            (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    assert done.stdout.split()[-1] == __version__
    found = subprocess.run(
        [tmp_path / "bin/python", "-c", "import braze_etl, vl_convert; print(braze_etl.__file__)"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.startswith(str(tmp_path))


def test_the_report_can_be_drawn_by_what_the_page_installs() -> None:
    assert any(line.endswith("pip install -c constraints.txt '.[report]'") for line in commands())


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_nobody_is_told_to_fetch_a_package_of_that_name_from_an_index(page: Path) -> None:
    for line in page.read_text().splitlines():
        if "pip install" in line and "--no-index" not in line:
            assert "braze-etl" not in line.partition("pip install")[2].partition("#")[0], line
