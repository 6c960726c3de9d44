"""Braze Currents files in, Amplitude events out, with books that balance."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from braze_etl.api import Pipeline, read_events
    from braze_etl.engine.report import RunReport
    from braze_etl.errors import BrazeEtlError

__all__ = ["BrazeEtlError", "Pipeline", "RunReport", "__version__", "read_events"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Resolve a name of the Python API when it is asked for: no command waits for what is behind it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("braze_etl.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
