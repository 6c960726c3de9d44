"""Amplitude's own Python SDK, with its batches as large as the Batch API takes and its log of events off."""

from __future__ import annotations

import sys

from amplitude import Amplitude, BaseEvent, Config
from amplitude.constants import EventLogLevel

from tests.bench.peers.mapping import BATCH, events_of, files


def main(folder: str, url: str) -> None:
    """Track every event below *folder*; shutting down sends what is left."""
    config = Config(
        use_batch=True,
        server_url=f"{url}/batch",
        flush_queue_size=BATCH,
        flush_interval_millis=200,  # its default, 10 s, is also how long its thread may idle at the end
        event_log_level=EventLogLevel.NONE,
    )
    client = Amplitude("key", config)
    for path in files(folder):
        for event in events_of(path):
            del event["library"]  # the SDK puts its own name there
            client.track(BaseEvent(**event))
    client.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:3])
