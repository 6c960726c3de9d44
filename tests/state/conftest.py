from __future__ import annotations

from tests.state.ground import clock, ground, ledger

__all__ = ["clock", "ground", "ledger"]
