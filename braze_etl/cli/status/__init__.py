"""`braze-etl status`: the 48-hour window, of one pipeline or of several."""

from __future__ import annotations

from braze_etl.cli.status._command import status

__all__ = ["status"]
