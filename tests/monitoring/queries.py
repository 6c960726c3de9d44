"""What a PromQL expression asks for, compared with the metrics that the job has."""

from __future__ import annotations

import re
from collections.abc import Iterator

from braze_etl.model import Outcome
from braze_etl.monitoring.metrics import METRICS

_SELECTOR = re.compile(r"\b(braze_etl_\w+)\s*(?:\{([^}]*)\})?")
_LABEL = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
_VALUES = {
    "outcome": {outcome.value for outcome in Outcome},
    "command": {"run", "backfill", "quarantine replay"},
    "error": {"KeyRefusedError"},
}
_LABELS = {
    series: {"pipeline", *metric.labels, *(["le"] if series.endswith("_bucket") else [])}
    for metric in METRICS
    for series in (
        [f"{metric.name}{end}" for end in ("_bucket", "_count", "_sum")]
        if metric.kind == "histogram"
        else [metric.name]
    )
}


def problems_of(expression: str, *, shown: str = "") -> Iterator[str]:
    """Name every metric, label and label value that does not exist; *shown* is the text of a legend."""
    found = _SELECTOR.findall(expression)
    if not found:
        yield f"no metric in {expression}"
    known = set[str]()
    for name, selector in found:
        if name not in _LABELS:
            yield f"no metric {name} in {expression}"
            continue
        known |= _LABELS[name]
        for label, value in _LABEL.findall(selector):
            if label not in _LABELS[name]:
                yield f"{name} has no label {label}"
            if label in _VALUES and value not in _VALUES[label]:
                yield f"{label} is never {value}"
    grouped = [label.strip() for labels in _GROUPING.findall(expression) for label in labels.split(",")]
    for label in [*grouped, *re.findall(r"\{\{(\w+)\}\}", shown)]:
        if label not in known:
            yield f"no metric of {expression} has the label {label}"
