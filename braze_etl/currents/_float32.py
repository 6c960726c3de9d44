"""The number that a 32-bit float was meant to be."""

from __future__ import annotations

import math
import struct

_FLOAT32 = struct.Struct("<f")
_SMALLEST_NORMAL = 2.0**-126
_LOPSIDED = {2.0**-96: 1.2621775e-29, 2.0**87: 1.5474251e26, 2.0**90: 1.2379401e27}
"""Powers of two have more room above than below: of all, these alone have a shorter neighbour there."""


def shortest_float32(value: float) -> float:
    """Return the number with the fewest digits that packs to the same 4 bytes as *value*.

    19.99, not 19.989999771118164 (currents.md, 2: `float` is 32-bit). *value* has to be a 32-bit float's, as
    fastavro reads it; NaN and the infinities come back as they are.
    """
    if not math.isfinite(value):
        return value
    # Six digits always survive in a normal number, so no shorter one has to be tried.
    for digits in range(1 if abs(value) < _SMALLEST_NORMAL else 6, 9):
        short = float(f"{value:.{digits}g}")
        if _same(short, value):
            return short
    longest = float(f"{value:.9g}")
    return math.copysign(_LOPSIDED.get(abs(value), abs(longest)), value)


def _same(number: float, value: float) -> bool:
    try:
        packed = _FLOAT32.pack(number)
    except OverflowError:  # rounded up beyond the largest
        return False
    return bool(_FLOAT32.unpack(packed)[0] == value)
