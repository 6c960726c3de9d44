"""The script one writes first: fastavro, json and requests, one thing after the other."""

from __future__ import annotations

import json
import sys

import requests

from tests.bench.peers.mapping import batches, events_of, files


def main(folder: str, url: str) -> None:
    """Send every event below *folder* to *url*, across files 2,000 a request."""
    session = requests.Session()
    for batch in batches(event for path in files(folder) for event in events_of(path)):
        body = json.dumps({"api_key": "key", "events": batch}).encode()
        session.post(f"{url}/batch", data=body, timeout=20).raise_for_status()


if __name__ == "__main__":
    main(*sys.argv[1:3])
