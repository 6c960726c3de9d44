"""The page of `braze-etl report`: from plain data to one HTML file that needs no network.

Knows nothing of runs and ledgers: `render` takes the JSON values that `report --output json` prints. The
charts are Vega-Lite's; its script comes from the `vl-convert-python` package and travels in the page.
"""

from __future__ import annotations

from braze_etl.report._page import render

__all__ = ["render"]
