from __future__ import annotations

from tests.workplace import Workplace


def _listing(workplace: Workplace, *ids: str) -> None:
    (workplace.folder / "gone.txt").write_text("".join(f"{id_}\n" for id_ in ids))


def test_of_people_on_the_list_no_worker_sends_anything(workplace: Workplace) -> None:
    written = workplace.export(events=6000)
    gone = sorted({record["external_user_id"] for record in written.records} - {None})[::3]
    _listing(workplace, *gone)
    workplace.configure(mapping={"privacy": {"suppress": "gone.txt"}}, workers=2)
    cache = workplace.folder / "cache"
    result = workplace.do("run", "--output", "json", XDG_CACHE_HOME=str(cache))
    assert result.code == 0, result.err
    others = written.where(lambda record: record["external_user_id"] not in gone)
    assert workplace.accepted_ids() == written.must_arrive(others)
    suppressed = len(written.must_arrive()) - len(written.must_arrive(others))
    assert result.json["reasons"]["suppressed"] >= suppressed > 0
    assert len(list(cache.rglob("*.sqlite"))) == 1


def test_where_the_copy_of_the_list_can_t_be_kept_nothing_is_sent(workplace: Workplace) -> None:
    workplace.export(events=300)
    _listing(workplace, "somebody")
    workplace.configure(mapping={"privacy": {"suppress": "gone.txt"}})
    (workplace.folder / "cache").write_text("")
    result = workplace.do("run", "--output", "json", XDG_CACHE_HOME=str(workplace.folder / "cache"))
    assert (result.code, "XDG_CACHE_HOME" in result.error["remedy"]) == (1, True)
    assert workplace.amplitude.stats()["events_received"] == 0
