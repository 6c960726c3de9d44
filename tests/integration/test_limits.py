from __future__ import annotations

import json
from typing import Any

from fixtures.generate import sample_record, write_avro

CUSTOM = "users.behaviors.CustomEvent"
FOLDER = f"dataexport.prod-01.S3.integration.ab/event_type={CUSTOM}/date=2026-10-01-05/version=12/us-01"
AWKWARD: list[dict[str, Any]] = [
    {"properties": json.dumps({"note": "x" * 3000})},
    {"properties": '{"order": 9007199254740993}'},
    {"properties": '{"ratio": NaN, "kept": 1}'},
    {"properties": '{"half": "\\ud83d"}'},
    {"properties": '{"nul": "a\\u0000b"}'},
    {"device_id": "unknown"},
    {"properties": "[" * 300 + "]" * 300},
    {"app_id": "a\0b"},
]
SET_ASIDE: list[dict[str, Any]] = [
    {"properties": json.dumps(dict.fromkeys(map(str, range(1100)), 1))},
    {"time": -1},
]


def test_what_amplitude_can_not_take_is_repaired_and_the_report_says_so(workplace: Any) -> None:
    records = [sample_record(CUSTOM, seed) | {"external_user_id": f"customer-{seed}"} for seed in range(30)]
    for number, fields in enumerate([*AWKWARD, *SET_ASIDE]):
        records[number] |= fields
    folder = workplace.source / FOLDER
    folder.mkdir(parents=True)
    write_avro(folder / "dataexport.prod-01.S3.integration.ab+0+1.avro", CUSTOM, records)
    report = workplace.run()
    assert report["repairs"] == {
        "text_cut": 1,
        "integer_as_text": 1,
        "number_left_out": 1,
        "surrogates_replaced": 1,
        "nul_removed": 2,
        "device_id_left_out": 1,
        "json_left_whole": 1,
    }
    assert report["reasons"] == {"invalid_event": 2}
    assert report["requests"]["retried"] == 0
    assert workplace.accepted_ids() == sorted(
        record["id"] for record in [*records[: len(AWKWARD)], *records[len(AWKWARD) + len(SET_ASIDE) :]]
    )
    stats = workplace.project.stats()
    assert stats["events_received"] == stats["events_held"] == 28  # none was refused, none was sent twice
    assert stats["unknown_keys"] == {}
