"""Batches, requests, replies and decisions: Amplitude's words live here.

A `BatchBuilder` fills batches, a `Courier` delivers them: it posts through a `Transport`, has `decide` turn
each answer into a `Decision`, and acts on that until every event is accepted, set aside, deferred or, when
delivery ended first, unsettled. The facts about Amplitude are those of amplitude.md, sections 0 to 3.
"""

from braze_etl.delivery.batch import Batch, BatchBuilder
from braze_etl.delivery.client import HttpTransport, Transport
from braze_etl.delivery.courier import Courier
from braze_etl.delivery.decision import (
    Accepted,
    Aside,
    Cause,
    Decision,
    Hold,
    Lane,
    PlainBody,
    Refused,
    RetryAfter,
    Sort,
    Split,
    Stop,
    StopKind,
)
from braze_etl.delivery.inline import InlineExecutor
from braze_etl.delivery.outcome import Delivered, RequestCounts, Trouble
from braze_etl.delivery.probing import Finding, Standing, probe
from braze_etl.delivery.protocol import Compression, decide
from braze_etl.delivery.reply import Kind, NoReply, Reply
from braze_etl.delivery.settings import DeliverySettings, endpoint_url, gzip_default, shown_url

__all__ = [
    "Accepted",
    "Aside",
    "Batch",
    "BatchBuilder",
    "Cause",
    "Compression",
    "Courier",
    "Decision",
    "Delivered",
    "DeliverySettings",
    "Finding",
    "Hold",
    "HttpTransport",
    "InlineExecutor",
    "Kind",
    "Lane",
    "NoReply",
    "PlainBody",
    "Refused",
    "Reply",
    "RequestCounts",
    "RetryAfter",
    "Sort",
    "Split",
    "Standing",
    "Stop",
    "StopKind",
    "Transport",
    "Trouble",
    "decide",
    "endpoint_url",
    "gzip_default",
    "probe",
    "shown_url",
]
