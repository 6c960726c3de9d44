"""docs/python.md, carried out: its notebook by a kernel, its task of Airflow and its asset of Dagster.

Airflow is too large to be installed for this, and Dagster takes half a minute: stand-ins have what the page
uses of them. Where Dagster is installed, `dagster.materialize` carries the asset out.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any, Self

import nbformat
import pytest
from nbclient import NotebookClient

from tests.docs.pages import ROOT, blocks
from tests.faults.processes import wait_until
from tests.workplace import Workplace, Written

PAGE = ROOT / "docs/python.md"
TEXT = PAGE.read_text()


def code(heading: str) -> list[str]:
    """The blocks of Python below a heading of the page."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [block.text for block in blocks(PAGE) if block.language == "python" and block.text in section]


@pytest.fixture
def written(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> Written:
    written = workplace.export(events=150, hours=1, awkward=0.1, duplicates=0)
    workplace.configure(workers=1)
    shutil.copy(workplace.folder / "config.yaml", workplace.folder / "braze-etl.yaml")
    (workplace.folder / "some.avro").write_bytes(workplace.files()[0].read_bytes())
    monkeypatch.chdir(workplace.folder)
    monkeypatch.setenv("BRAZE_ETL_CONFIG", "braze-etl.yaml")
    return written


def test_the_notebook_runs_from_its_first_cell_to_its_last_and_prints_nothing(
    workplace: Workplace, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(workplace.folder / "jupyter"))
    cells: list[Any] = [nbformat.v4.new_code_cell(text) for text in code("In a notebook")]  # type: ignore[no-untyped-call]
    notebook = nbformat.v4.new_notebook(cells=cells)  # type: ignore[no-untyped-call]
    NotebookClient(notebook, timeout=100, kernel_name="python3").execute()
    outputs = [cell.outputs for cell in notebook.cells]
    assert [len(each) for each in outputs] == [0, 1, 1, 1, 1, 0], "a result each, and no stream"
    _, plan, report, status, sent, _ = outputs
    assert plan[0].data["text/plain"].startswith(f"({len(written.must_arrive())},")
    assert report[0].data["text/plain"].startswith(f"(3,\n Tally(accepted={len(written.must_arrive())},")
    assert "'at_risk'" in status[0].data["text/plain"]
    assert sent[0].data["text/plain"].startswith("(")
    assert workplace.accepted_ids() == written.must_arrive()


class Skipped(Exception):  # noqa: N818 - a stand-in
    """Airflow's `AirflowSkipException`."""


class Context:
    """Airflow's `DAG`, as far as the page uses it."""

    def __init__(self, **_parameters: Any) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None: ...


@pytest.fixture
def deliver(monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, int]]:
    """The callable of the page's operator."""
    tasks: list[dict[str, Any]] = []
    parts: dict[str, dict[str, object]] = {
        "airflow": {},
        "airflow.exceptions": {"AirflowSkipException": Skipped},
        "airflow.providers": {},
        "airflow.providers.standard": {},
        "airflow.providers.standard.operators": {},
        "airflow.providers.standard.operators.python": {"PythonOperator": lambda **task: tasks.append(task)},
        "airflow.sdk": {"DAG": Context},
    }
    for name, members in parts.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    (block,) = code("In Airflow")
    exec(block, {})
    (task,) = tasks
    callable_: Callable[[], dict[str, int]] = task["python_callable"]
    return callable_


class Terminated(BaseException):
    """What Airflow's handler of SIGTERM raises in a task."""


def _as_airflow_does(task: Callable[[], dict[str, int]], outcome: Any) -> None:
    def terminate(*_: object) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    try:
        outcome.put(task())
    except BaseException as error:  # noqa: BLE001 - it is what the test looks at
        outcome.put(type(error).__name__)


def begun(task: Callable[[], dict[str, int]]) -> tuple[Any, Any]:
    """Start a task in a child process, as a scheduler's worker forks them: the process, and its outcome."""
    context = multiprocessing.get_context("fork")
    outcome = context.SimpleQueue()
    child = context.Process(target=_as_airflow_does, args=(task, outcome), daemon=True)
    child.start()
    return child, outcome


def test_the_task_of_airflow_delivers(
    workplace: Workplace, written: Written, deliver: Callable[[], dict[str, int]]
) -> None:
    child, outcome = begun(deliver)
    child.join(60)
    assert outcome.get()["accepted"] == len(written.must_arrive())
    assert workplace.accepted_ids() == written.must_arrive()


@pytest.mark.usefixtures("written")
def test_airflow_stops_it_cleanly(workplace: Workplace, deliver: Callable[[], dict[str, int]]) -> None:
    workplace.inject("- do: {delay: 0.7}")
    path = workplace.folder / "braze-etl.yaml"
    path.write_text(path.read_text().replace("region: US", "region: US\n  max_events: 5"))
    child, outcome = begun(deliver)
    wait_until(lambda: bool(workplace.accepted_ids()), "a request was answered")
    os.kill(child.pid, signal.SIGTERM)
    child.join(60)
    assert outcome.get() == "Terminated"
    (run,) = workplace.do("status", "--output", "json").json["runs"]
    assert run["exit_code"] == 143


def test_the_asset_of_dagster_delivers(
    workplace: Workplace, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = code("In Dagster")
    names: dict[str, Any] = {"__name__": "assets"}
    if importlib.util.find_spec("dagster"):
        exec(block, names)
        import dagster  # type: ignore[import-not-found]

        done = dagster.materialize([names["amplitude_events"]])
        (found,) = done.asset_materializations_for_node("amplitude_events")
        metadata = {name: value.value for name, value in found.metadata.items()}
    else:
        module = ModuleType("dagster")
        vars(module).update(asset=lambda function: function, MaterializeResult=SimpleNamespace)
        monkeypatch.setitem(sys.modules, "dagster", module)
        exec(block, names)
        metadata = names["amplitude_events"]().metadata
    assert (metadata["exit_code"], metadata["accepted"]) == (3, len(written.must_arrive()))
    assert workplace.accepted_ids() == written.must_arrive()
