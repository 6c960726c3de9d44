"""The colours of the page: apart for everybody, and visible on their ground.

How red-blind and green-blind people see is simulated after Machado, Oliveira and Fernandes (2009).
"""

from __future__ import annotations

import math
import re
from itertools import combinations
from pathlib import Path
from typing import TypeAlias

import pytest

import braze_etl.commands.report

STYLE = (Path(braze_etl.commands.report.__file__).parent / "page.css").read_text()
SERIES = [f"s{number}" for number in range(1, 9)]
OUTCOMES = ["accepted", "filtered", "quarantined", "deferred"]
EYES = {
    "most": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "green-blind": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "red-blind": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
}
Light: TypeAlias = list[float]


def palette(scheme: str) -> dict[str, Light]:
    """The colours of the style sheet in a scheme, as linear light."""
    found = re.findall(r"--([\w]+): light-dark\(#(\w{6}), #(\w{6})\)", STYLE)
    return {name: linear(light if scheme == "light" else dark) for name, light, dark in found}


def linear(code: str) -> Light:
    values = [int(code[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    return [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]


def seen(colour: Light, eyes: str) -> Light:
    """A colour in L*a*b* as these eyes see it."""
    red, green, blue = (
        min(1.0, max(0.0, sum(a * b for a, b in zip(row, colour, strict=True)))) for row in EYES[eyes]
    )
    x = cube_root((0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505)
    y = cube_root(0.2126 * red + 0.7152 * green + 0.0722 * blue)
    z = cube_root((0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089)
    return [116 * y - 16, 500 * (x - y), 200 * (y - z)]


def cube_root(value: float) -> float:
    return math.cbrt(value) if value > 0.008856 else 7.787 * value + 16 / 116


def contrast(one: Light, other: Light) -> float:
    low, high = sorted(0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("eyes", list(EYES))
@pytest.mark.parametrize("names", [SERIES, OUTCOMES], ids=["event types", "outcomes"])
def test_no_two_look_alike(scheme: str, eyes: str, names: list[str]) -> None:
    colours = palette(scheme)
    apart = {
        pair: math.dist(*(seen(colours[name], eyes) for name in pair)) for pair in combinations(names, 2)
    }
    assert {pair: distance for pair, distance in apart.items() if distance < 15} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_stands_out_from_the_card(scheme: str) -> None:
    colours = palette(scheme)
    faint = {
        name: ratio for name in SERIES + OUTCOMES if (ratio := contrast(colours[name], colours["card"])) < 3
    }
    assert faint == {}
