"""A little writer of Python source: lines, and blocks that indent what is written inside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_INDENT = "    "


class Source:
    """Source text that grows line by line."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._depth = 0

    def add(self, *lines: str) -> None:
        """Write lines at the depth of the blocks that are open."""
        self._lines += [_INDENT * self._depth + line for line in lines]

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """Write *header* with a colon behind it; what is written inside is its body."""
        self.add(f"{header}:")
        self._depth += 1
        yield
        self._depth -= 1

    def __str__(self) -> str:
        return "\n".join([*self._lines, ""])
