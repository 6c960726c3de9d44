"""The wheel holds all that the program needs, and works where there is no checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest

from braze_etl import __version__
from fixtures.generate import ExportSpec, generate
from tests.workplace import Workplace

ROOT = Path(__file__).parents[2]
Installed = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.xdist_group("wheel")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Runs the `braze-etl` of a fresh environment, outside of the checkout.

    The libraries are those of the environment that the tests run in, by a path file: to install them again
    would take a minute. Path files in that folder are not followed, so the checkout itself is out of reach.
    """
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "env", symlinks=True, with_pip=False)
    site = next((folder / "env/lib").glob("python*")) / "site-packages"
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", "--no-compile"]
    command = [sys.executable, "-m", "pip", "--python", str(folder / "env/bin/python"), "install", *options]
    subprocess.run([*command, str(wheel)], check=True, capture_output=True, text=True)
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "BRAZE_ETL"))}

    def run(
        *arguments: str, program: str = "braze-etl", cwd: Path = folder
    ) -> subprocess.CompletedProcess[str]:
        command = [str(folder / "env/bin" / program), *arguments]
        return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=True)

    return run


def test_every_file_of_the_package_is_in_it_and_none_of_the_tests(wheel: Path) -> None:
    held = set(ZipFile(wheel).namelist())
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "braze_etl").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert package <= held
    assert {name.split("/")[0] for name in held - package} == {f"braze_etl-{__version__}.dist-info"}


def test_it_carries_the_license_and_says_that_it_is_typed(wheel: Path) -> None:
    held = ZipFile(wheel).namelist()
    assert f"braze_etl-{__version__}.dist-info/licenses/LICENSE" in held
    assert "braze_etl/py.typed" in held


def test_the_package_comes_from_the_wheel(installed: Installed) -> None:
    where = installed("-c", "import braze_etl; print(braze_etl.__file__)", program="python").stdout
    assert not where.startswith(str(ROOT))


def test_it_tells_its_version(installed: Installed) -> None:
    assert __version__ in installed("--version").stdout


def test_it_has_the_presets(installed: Installed) -> None:
    listed = json.loads(installed("mapping", "list", "--output", "json").stdout)
    assert len(listed["event_types"]) > 100


def test_it_shows_a_file_as_events(installed: Installed, tmp_path: Path) -> None:
    generate(tmp_path, ExportSpec(events=50, hours=1, event_types=("users.messages.email.Open",)))
    file = max(tmp_path.rglob("*.avro"), key=lambda path: path.stat().st_size)
    shown = installed("preview", str(file), "-n", "20").stdout
    assert "[Appboy] Email Open" in shown


def test_it_writes_a_configuration(installed: Installed, tmp_path: Path) -> None:
    generate(tmp_path / "export", ExportSpec(events=50, hours=1))
    config = tmp_path / "braze-etl.yaml"
    installed("init", "--source", str(tmp_path / "export"), "--region", "EU", "-o", str(config))
    assert "unknown_types" in config.read_text()


def test_it_delivers_in_worker_processes_and_draws_the_report(
    installed: Installed, workplace: Workplace
) -> None:
    written = workplace.export(events=100, hours=1)
    workplace.configure()
    for command in (["run"], ["report", "-o", "report.html"]):
        installed(*command, "-c", "config.yaml", cwd=workplace.folder)
    assert len(list(workplace.project.events())) > written.summary.events // 2
    assert "<html" in (workplace.folder / "report.html").read_text()


def test_the_types_of_the_python_api_are_there_for_who_installs_it(
    installed: Installed, tmp_path: Path
) -> None:
    program = (
        "from braze_etl import Pipeline, read_events\nreveal_type(Pipeline.open('x').run().events.accepted)\n"
    )
    (tmp_path / "program.py").write_text(program)
    told = installed("-m", "mypy", "--strict", "program.py", program="python", cwd=tmp_path).stdout
    assert 'Revealed type is "int"' in told
