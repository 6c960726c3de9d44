"""The script one writes with care: a process pool of two, orjson, a session in each process."""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path

import orjson
import requests

from tests.bench.peers.mapping import batches, events_of, files


@cache
def session() -> requests.Session:
    """The connections of this process."""
    return requests.Session()


def deliver(url: str, path: Path) -> None:
    """Send the events of one file, 2,000 a request."""
    for batch in batches(events_of(path)):
        body = orjson.dumps({"api_key": "key", "events": batch})
        session().post(f"{url}/batch", data=body, timeout=20).raise_for_status()


def main(folder: str, url: str) -> None:
    """Send every file below *folder* to *url*."""
    with ProcessPoolExecutor(2) as executor:
        for _ in executor.map(partial(deliver, url), files(folder)):
            pass


if __name__ == "__main__":
    main(*sys.argv[1:3])
