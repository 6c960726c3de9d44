"""dlt: a resource that yields events, and a custom destination that posts them, 2,000 at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Any

import dlt
import orjson
import requests

from tests.bench.peers.mapping import BATCH, Record, batches, events_of, files


def main(folder: str, url: str) -> None:
    """Load every event below *folder* into *url*; dlt's working files are removed afterwards."""
    session = requests.Session()

    def post(items: list[Record], table: Any) -> None:
        body = orjson.dumps({"api_key": "key", "events": items})
        session.post(f"{url}/batch", data=body, timeout=20).raise_for_status()

    def events() -> Iterator[list[Record]]:
        for path in files(folder):
            yield from batches(events_of(path))

    with TemporaryDirectory() as working:
        destination = dlt.destination(
            post,
            batch_size=BATCH,
            naming_convention="direct",
            name="amplitude",
            skip_dlt_columns_and_tables=True,
        )
        pipeline = dlt.pipeline("bench", pipelines_dir=working, destination=destination)
        pipeline.run(dlt.resource(events, name="events", max_table_nesting=0)).raise_on_failed_jobs()


if __name__ == "__main__":
    main(*sys.argv[1:3])
