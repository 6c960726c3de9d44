"""What a worker of this flow opens in its own process, from the configuration alone."""

from __future__ import annotations

from functools import partial

from braze_etl.amplitude.destination import BatchApi
from braze_etl.clock import SystemClock
from braze_etl.config.loading import Config
from braze_etl.config.unresolved import Unresolved
from braze_etl.engine.executors.opening import OpenExecutor, executor_opener
from braze_etl.engine.executors.workers import Workers, scheduler_of
from braze_etl.engine.flow import Reach, SharedExecutor, WorkerParts, WorkerSpec
from braze_etl.errors import ConfigError
from braze_etl.flows.currents_to_amplitude.mapping import open_mapping
from braze_etl.flows.currents_to_amplitude.reader import EventReader
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.flows.currents_to_amplitude.source import open_source, open_source_ahead
from braze_etl.flows.pipeline import open_quarantine
from braze_etl.mapping.limits import mend_event


def worker_spec(
    settings: Unresolved[Settings], *, keep_payloads: bool, rationed: bool, sends: bool = True
) -> WorkerSpec:
    """What workers are built from.

    With *keep_payloads*, what is set aside gets its record; when *rationed*, nothing is sent before the
    parent has granted it. One that *sends* has to reach Amplitude, with a key that is taken.
    """
    opening = partial(_open, settings, keep_payloads, rationed)
    return WorkerSpec(opening, partial(_reach, settings, sends), __name__)


def executor_opener_of(
    config: Config[Settings],
    workers: Workers | None,
    *,
    keep_payloads: bool = False,
    rationed: bool = False,
    sends: bool = True,
) -> OpenExecutor:
    """What opens an executor of *workers*, or of those that are configured.

    Raises `ConfigError` as `executor_opener` does, and where other machines can't reach the stores.
    """
    settings = config.settings
    if beyond := [words for _, words in settings.beyond_reach(workers)]:
        raise ConfigError(
            "; ".join(beyond), remedy="Or use the processes of this machine: give --workers a number."
        )
    return executor_opener(
        scheduler_of(workers or settings.workers),
        settings.processes(workers),
        worker_spec(config.unresolved, keep_payloads=keep_payloads, rationed=rationed, sends=sends),
        config.unresolved,
        repeatable_for=BatchApi.repeatable_for,
    )


def executor_to_read(config: Config[Settings], workers: Workers | None = None) -> SharedExecutor:
    """Workers for a pass that sends nothing."""
    return SharedExecutor(executor_opener_of(config, workers, sends=False))


def _reach(unresolved: Unresolved[Settings], sends: bool) -> Reach:
    settings = unresolved.resolve()
    store, prefix = open_source(settings.source)
    return Reach(store, prefix, BatchApi(settings.amplitude) if sends else None)


def _open(unresolved: Unresolved[Settings], keep_payloads: bool, rationed: bool) -> WorkerParts:
    settings = unresolved.resolve()
    mapping = open_mapping(settings)
    lasting, _ = open_source(settings.source, gives_way=False)
    return WorkerParts(
        clock=SystemClock(),
        store=open_source_ahead(settings.source),
        lasting=lasting,
        reader=EventReader(mapping, decoder=settings.decoder),
        destination=BatchApi(settings.amplitude, mend_event),
        quarantine=open_quarantine(settings),
        keeps_payloads=keep_payloads,
        stops=settings.terms.stops if rationed else None,
        judged_by=mapping.version,
    )
