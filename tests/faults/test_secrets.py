"""The API key is never shown: not by the program, what it writes, or the system's list of processes."""

from __future__ import annotations

import shlex
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from braze_etl.sandbox.amplitude.replies import Reply
from tests.faults.conftest import SMALL, Picky
from tests.faults.processes import session, wait_until
from tests.workplace import KEY, Result, Workplace, ended

MESSAGE = f"Invalid event JSON for api_key {KEY}"


def shown(place: Workplace, result: Result) -> str:
    """Everything that a run printed and wrote, but for the configuration."""
    written = [path.read_bytes() for path in sorted((place.folder / "state").rglob("*")) if path.is_file()]
    return result.out + result.err + b"".join(written).decode("utf-8", "replace")


def _reply(status: int, **body: Any) -> str:
    return f"- when: {{after: 1}}\n  do: {{reply: {{status: {status}, body: {body}}}}}"


FAILURES = {
    "a refusal of the key that repeats it": _reply(400, code=400, error=f"Invalid API key: {KEY}"),
    "a server error that repeats it": _reply(500, code=500, error=MESSAGE),
    "a page that repeats it": f"- when: {{after: 1}}\n  do: {{reply: {{status: 502, body: '<p>{KEY}'}}}}",
    "a redirect that repeats it": f"- when: {{after: 1}}\n  do: {{redirect: 'http://127.0.0.1:9/?key={KEY}'}}",
    "a broken connection": "- when: {after: 1}\n  do: {reset: before_body}",
}


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("name", FAILURES)
def test_a_failed_run_does_not_show_the_key(place: Workplace, name: str, form: str) -> None:
    place.export(events=100, hours=1)
    place.configure(amplitude={**SMALL, "give_up_after": "1s"}, workers=1)
    place.inject(FAILURES[name])
    result = place.do("run", "--output", form)
    assert result.code == 1
    assert KEY not in shown(place, result)


def test_what_is_set_aside_does_not_keep_the_key(place: Workplace) -> None:
    written = place.export(events=350, hours=1, duplicates=0)
    bad = written.must_arrive()[7]

    def refuse(events: list[dict[str, Any]]) -> Reply | None:
        found = [index for index, event in enumerate(events) if event["insert_id"] == bad]
        lists = {"events_with_invalid_fields": {f"properties {KEY}": found}}
        return Reply(400, {"code": 400, "error": MESSAGE, **lists}) if found else None

    place.become(Picky(refuse))
    result = place.do("run", "--output", "json")
    assert result.code == 3
    listed = place.do("quarantine", "list", "--output", "json")
    assert "Invalid event JSON" in listed.out
    assert KEY not in shown(place, result) + listed.out


def test_whatever_is_written_of_people_is_for_its_owner_alone(place: Workplace) -> None:
    place.export(events=350, hours=1)
    place.files()[0].write_bytes(b"no Avro")
    (place.folder / "people.csv").write_text("customer-1,user-1\n")
    (place.folder / "gone.txt").write_text("customer-2\n")
    place.configure(
        amplitude=SMALL,
        quarantine={"payload": True},
        mapping={
            "identity": {"lookup": {"uri": "people.csv"}, "flag_above": 1},
            "privacy": {"suppress": "gone.txt"},
        },
    )
    wide = f"umask 0; {shlex.join(place.command('run'))}"
    assert (
        ended(place.start(command=["sh", "-c", wide], XDG_CACHE_HOME=str(place.folder / "cache"))).code == 3
    )
    wide = f"umask 0; {shlex.join(place.command('state', 'copy', 'config.yaml', 'sqlite:///state/b.db'))}"
    assert ended(place.start(command=["sh", "-c", wide])).code == 0
    written = [each for name in ("state", "cache") for each in (place.folder / name).rglob("*")]
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in written if each.is_file()}
    assert {"braze-etl.db", "braze-etl.db.lock", "b.db"} < modes.keys()
    assert len(modes) > 6, modes
    assert {name: mode for name, mode in modes.items() if mode != 0o600 and not name.endswith(".lock")} == {}


def test_a_configuration_with_mistakes_is_explained_without_the_key(place: Workplace) -> None:
    place.configure(amplitude={"region": "ASIA", "api_key": [KEY]})
    result = place.do("config", "check", "--output", "json")
    assert result.code == 2
    assert KEY not in result.out + result.err


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_the_list_of_processes_does_not_show_the_key(place: Workplace) -> None:
    place.export(events=100, hours=1)
    place.configure(amplitude={**SMALL, "api_key": "${AMPLITUDE_API_KEY}", "timeout": "30s"}, workers=1)
    place.inject("- when: {after: 1}\n  do: {hang: 30}")
    process = place.start("run", AMPLITUDE_API_KEY=KEY)
    wait_until(lambda: place.amplitude.stats()["requests"].get("hang", 0) > 0, "a request is under way")
    processes = session(process.pid)
    assert len(processes) > 2
    titles = [Path(f"/proc/{pid}/{name}").read_text() for pid in processes for name in ("cmdline", "comm")]
    assert not any(KEY in title for title in titles)


@pytest.mark.parametrize("proxy", ["socks5h://anna:s3cret@127.0.0.1:9", "http://anna:s3cret/pw@127.0.0.1:9"])
def test_the_password_of_a_proxy_is_never_shown(place: Workplace, proxy: str) -> None:
    place.export(events=30, hours=1)
    place.configure(amplitude={**SMALL, "endpoint": "https://amplitude.invalid", "give_up_after": "1s"})
    names = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")
    for words in (("doctor",), ("run", "--log-format", "text"), ("run", "--output", "json")):
        result = place.do(*words, **dict.fromkeys(names, proxy), NO_PROXY="", no_proxy="")
        assert result.code == 1, result
        assert "s3cret" not in shown(place, result)
