from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.commands.doctor.conftest import MakeSite, look
from tests.monitoring.watching import Watcher, watching
from tests.workplace import Workplace

NOWHERE = "http://127.0.0.1:9"
CHECKS = ("metrics.textfile", "metrics.pushgateway", "notify")


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    with watching() as found:
        yield found


@pytest.mark.parametrize("check", CHECKS)
def test_where_nobody_watches_there_is_nothing_to_look_at(make_site: MakeSite, check: str) -> None:
    assert look(make_site(), check).status == "skipped"


def test_the_folder_of_the_textfile_has_to_be_there_and_writable(
    make_site: MakeSite, workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = {"textfile": "exporter/braze.prom"}
    assert look(make_site(metrics=metrics), "metrics.textfile").seen.startswith("there is no folder")
    (workplace.folder / "exporter").mkdir()
    assert look(make_site(metrics=metrics), "metrics.textfile").status == "ok"
    monkeypatch.setattr("braze_etl.commands.doctor.monitoring.is_writable", lambda _: False)
    assert look(make_site(metrics=metrics), "metrics.textfile").status == "warn"


def test_those_who_answer_are_fine_and_are_told_nothing(make_site: MakeSite, watcher: Watcher) -> None:
    watcher.status = 404
    site = make_site(
        metrics={"pushgateway": {"url": watcher.url}},
        notify={"webhook": f"{watcher.url}/s3cret", "dead_man": f"{watcher.url}/ping"},
    )
    for check in CHECKS[1:]:
        assert look(site, check).status == "ok"
    assert {(method, path) for method, path, _ in watcher.heard} == {("HEAD", "/")}


@pytest.mark.parametrize(
    ("check", "sections"),
    [
        ("metrics.pushgateway", {"metrics": {"pushgateway": {"url": NOWHERE}}}),
        ("notify", {"notify": {"webhook": f"{NOWHERE}/s3cret"}}),
        ("notify", {"notify": {"dead_man": f"{NOWHERE}/s3cret"}}),
    ],
)
def test_those_who_do_not_answer_are_a_warning_without_the_address(
    make_site: MakeSite, check: str, sections: dict[str, Any]
) -> None:
    found = look(make_site(**sections), check)
    assert (found.status, "127.0.0.1 can't be reached" in found.seen) == ("warn", True)
    assert "s3cret" not in found.seen + found.remedy
