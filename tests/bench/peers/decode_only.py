"""fastavro decoding every record and doing nothing with it: what reading alone costs."""

from __future__ import annotations

import sys
from collections import deque

from fastavro import reader

from tests.bench.peers.mapping import files

if __name__ == "__main__":
    for path in files(sys.argv[1]):
        with path.open("rb") as stream:
            deque(reader(stream), maxlen=0)
