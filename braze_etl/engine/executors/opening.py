"""From `workers` to an executor: processes of this machine, or the machines of a Dask scheduler."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, Protocol

from braze_etl.config.unresolved import Unresolved
from braze_etl.delivery.batches import Trouble
from braze_etl.engine.executors.local import WorkerPool, serve
from braze_etl.engine.executors.workers import Scheduler
from braze_etl.engine.flow import Executor, WorkerSpec
from braze_etl.engine.tasks import Ask, Grant
from braze_etl.errors import ConfigError


class OpenExecutor(Protocol):
    """Opens an executor; whom it calls while it is polled, `WorkerPool` says."""

    def __call__(
        self,
        *,
        answer: Callable[[Ask], Grant] = ...,
        watch: Callable[[int], None] = ...,
        troubled: Callable[[Trouble], None] = ...,
    ) -> Executor: ...


def executor_opener(
    scheduler: Scheduler | None,
    processes: int,
    spec: WorkerSpec,
    settings: Unresolved[Any],
    *,
    repeatable_for: timedelta | None,
) -> OpenExecutor:
    """What opens an executor of so many *processes* at most; nothing is started before it is called.

    *settings* are those that *spec* is over, and *repeatable_for* is that of its destination. Raises
    `ConfigError` where Dask can't carry this flow, or what would travel to the machines of a *scheduler*.
    """
    if scheduler is None:
        return partial(WorkerPool, processes, serve, spec, module=spec.module)
    if repeatable_for == timedelta(0):
        raise ConfigError(
            "workers names a Dask scheduler, and what this flow sends counts again when it is sent again:"
            " a machine that is lost may have sent what nobody knows of",
            remedy="Use the processes of one machine: set workers to auto, or to a number.",
        )
    from braze_etl.engine.executors import dask, machine
    from braze_etl.engine.executors.machines import DaskPool

    dask.check_installed(scheduler)
    shipment = machine.ship(spec, settings)
    return lambda **asked: DaskPool(dask.Cluster(scheduler), shipment, most=processes, **asked)
