"""Dask as membership and transport: who is there, and bytes to and fro. What they mean, `machines` knows.

A client of Dask runs in a thread of its own, with its event loop. Whoever owns the `Cluster` calls its
methods, which return at once, and takes what has happened from a queue.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import queue
import sys
import threading
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from braze_etl.engine.executors import machine
from braze_etl.engine.executors.machine import Order, Word
from braze_etl.engine.executors.shipment import Software, Unfit
from braze_etl.engine.executors.workers import Scheduler
from braze_etl.errors import ConfigError
from braze_etl.logs import get_logger

_log = get_logger(__name__)

CONNECT: Final = 15.0
"""Seconds in which a scheduler has to answer."""
_LEAVE: Final = 5.0
"""Seconds that machines have to be told that nobody wants them any more."""
_LOOK_EVERY = 0.25
_AGAIN_AFTER = 0.5
_TLS_FILES: Final = {
    "distributed.comm.tls.ca-file": "DASK_DISTRIBUTED__COMM__TLS__CA_FILE",
    "distributed.comm.tls.client.cert": "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT",
    "distributed.comm.tls.client.key": "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY",
}
_CERTIFICATES: Final = "Set them to PEM files: of the CA, and of this client's certificate and key."


@dataclass(frozen=True, slots=True)
class Answered:
    """The scheduler is there, and all have joined whom it knew; what it runs."""

    dask: str
    python: str


@dataclass(frozen=True, slots=True)
class Joined:
    """A worker of Dask's is there, at this address."""

    address: str


@dataclass(frozen=True, slots=True)
class Left:
    """It is gone, or the scheduler takes it for gone."""

    address: str


@dataclass(frozen=True, slots=True)
class Proven:
    """What `machine.bring_up` came to: how many processes there are, or why none works."""

    key: str
    processes: int
    unfit: Unfit | None


@dataclass(frozen=True, slots=True)
class Said:
    """A machine says something."""

    key: str
    word: Word


@dataclass(frozen=True, slots=True)
class Came:
    """What `machine.work` came to; empty when the machine could not say."""

    key: str
    task: int
    result: bytes


@dataclass(frozen=True, slots=True)
class Gone:
    """The scheduler is gone, or never answered."""

    words: str


Happened: TypeAlias = Answered | Joined | Left | Proven | Said | Came | Gone


class Cluster:
    """A scheduler of Dask, and the workers that it knows."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.happened: queue.SimpleQueue[Happened] = queue.SimpleQueue()
        self._prefix = f"braze-etl-{uuid.uuid4().hex}"
        self._numbers = iter(range(sys.maxsize))
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._client: Any = None
        self._is_cut_off = False
        self._members: set[str] = set()
        self._left_early: set[str] = set()
        self._futures: defaultdict[str, list[Any]] = defaultdict(list)
        self._orders: defaultdict[str, list[Order]] = defaultdict(list)
        self._told = Counter[str]()
        self._speaking: dict[str, asyncio.Task[None]] = {}
        self._working: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="dask", daemon=True)
        self._thread.start()

    def bring_up(self, address: str, shipment: bytes, file: bytes) -> str:
        """Have the machine there prove itself, which comes as `Proven`; gives its key, another each time."""
        key = f"{self._prefix}-{next(self._numbers)}"
        arguments = (key, tuple(Software.here()), shipment, file)

        async def prove() -> None:
            try:
                found = await self._submitted(key, address, key, machine.bring_up, *arguments)
            except Exception as error:  # noqa: BLE001 - whatever it was, it works for nobody
                words = f"it can't be brought up: {type(error).__name__}: {error}"
                found = 0, words, "Run scheduler, command and machines from one image."
            if found is not None:
                processes, *why = found
                self.happened.put(Proven(key, processes, None if processes else Unfit(*why)))

        self._begin(prove)
        return key

    def hand_out(self, address: str, key: str, task: int, data: bytes) -> None:
        """Have a machine work on a task; what comes of it is `Came`."""

        async def work() -> None:
            try:
                number = next(self._numbers)
                name = f"{self._prefix}-{number}"
                result = await self._submitted(name, address, key, machine.work, key, number, data)
            except Exception:  # noqa: BLE001 - the machine is lost, or does not work as it should
                result = b""
            if result is not None:
                self.happened.put(Came(key, task, result))

        self._begin(work)

    def tell(self, address: str, key: str, order: Order) -> None:
        """Tell a machine something: it gets all that it is told, in order."""
        self._call(self._tell, address, key, order)

    def give_up(self, key: str) -> None:
        """Have a machine end at once, as soon as it hears of it; nothing more comes from it."""
        self._begin(self._forget, key)

    def close(self, keys: Iterable[tuple[str, str]] = ()) -> None:
        """Put down machines, given by address and key, and leave the cluster."""
        for address, key in keys:
            self.tell(address, key, machine.PUT_DOWN)
        self._call(self._closing.set)
        self._thread.join(3 * _LEAVE)

    def _begin(self, work: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        self._call(self._start, work, *arguments)

    def _call(self, function: Callable[..., object], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the scheduler is gone, and the loop with it
            self._loop.call_soon_threadsafe(function, *arguments)

    # In the thread of the client

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._live())

    def _start(self, work: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> asyncio.Task[None]:
        task = self._loop.create_task(work(*arguments))
        self._working.add(task)
        task.add_done_callback(self._note_done)
        return task

    def _note_done(self, task: asyncio.Task[None]) -> None:
        self._working.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.debug("the scheduler was not reached", cause=first_line(error))

    async def _live(self) -> None:
        address = self.scheduler.address
        try:
            self._client = client_class()(
                address, asynchronous=True, set_as_default=False, timeout=CONNECT, name="braze-etl"
            )
            async with asyncio.timeout(CONNECT):  # Dask bounds the connection, and not the first words on it
                await self._client
        except Exception as error:  # noqa: BLE001 - of the network, of TLS, of another protocol
            self.happened.put(Gone(f"no Dask scheduler answers at {address}: {first_line(error)}"))
            if self._client is not None:
                await _within(_LEAVE, self._client.close())
            return
        try:
            await self._join()
            while not (self._closing.is_set() or self._is_cut_off) and self._client.status == "running":
                await _within(_LOOK_EVERY, self._closing.wait())
            if not self._closing.is_set():
                self.happened.put(Gone(f"the Dask scheduler at {address} is gone"))
        except Exception as error:  # noqa: BLE001 - as above
            self.happened.put(Gone(f"the Dask scheduler at {address} is gone: {first_line(error)}"))
        finally:
            await self._leave()

    async def _join(self) -> None:
        """Know who is there: first whoever comes and goes from now on, and then those that were there."""
        heard = asyncio.Event()

        def hear(event: tuple[float, Any]) -> None:
            message = event[1]
            if list(message) == [self._prefix]:
                heard.set()
            elif message[0].startswith(self._prefix):
                self.happened.put(Said(message[0], pickle.loads(message[1])))  # noqa: S301 - of our own machine

        self._client.subscribe_topic("all", self._note_member)
        self._client.subscribe_topic(machine.TOPIC, hear)
        until = self._loop.time() + CONNECT
        while not heard.is_set():
            if self._loop.time() > until:
                raise TimeoutError("it does not answer")
            await self._client.log_event(machine.TOPIC, [self._prefix])
            await _within(_AGAIN_AFTER, heard.wait())
        for address in await self._client.nthreads():
            if address not in self._left_early:
                self._note_joined(address)
        facts = await self._client.scheduler.versions()
        python = facts["host"]["python"].removesuffix(".final.0")
        self.happened.put(Answered(facts["packages"]["distributed"], python))

    def _note_member(self, event: tuple[float, Any]) -> None:
        message = event[1]
        if message.get("action") == "add-worker":
            self._note_joined(message["worker"])
        elif message.get("action") == "remove-worker":
            self._left_early.add(message["worker"])
            if message["worker"] in self._members:
                self._members.discard(message["worker"])
                self.happened.put(Left(message["worker"]))

    def _note_joined(self, address: str) -> None:
        if address not in self._members:
            self._members.add(address)
            self.happened.put(Joined(address))

    async def _submitted(
        self, name: str, address: str, key: str, function: Callable[..., Any], *arguments: Any
    ) -> Any:
        """What a function gives that runs on one worker and no other; None when nobody waits for it."""
        future = self._client.submit(
            function,
            *arguments,
            key=name,
            workers=[address],
            allow_other_workers=False,
            pure=False,
            retries=0,
        )
        # The first is that of `bring_up`: the machine lives as long as we hold it.
        self._futures[key].append(future)
        try:
            return await future
        except Exception:
            # A client that loses its scheduler cancels all there is, before it connects again.
            self._is_cut_off = self._is_cut_off or self._client.status != "running"
            if self._is_cut_off or key not in self._futures:
                return None
            raise
        finally:
            if name != key and key in self._futures:
                self._futures[key].remove(future)

    def _tell(self, address: str, key: str, order: Order) -> None:
        self._orders[key].append(order)
        if key not in self._speaking:
            self._speaking[key] = self._start(self._speak, address, key)

    async def _speak(self, address: str, key: str) -> None:
        """Send what a machine is told, in order, until it has answered, or is gone."""
        while (orders := self._orders.pop(key, [])) and address in self._members:
            packed, before = pickle.dumps(orders), self._told[key]
            self._told[key] += len(orders)
            while address in self._members and self._client.status == "running":
                with suppress(OSError):  # a connection may break on which nothing was said for long
                    heard = await self._client.run(
                        machine.receive, key, before, packed, workers=[address], on_error="return"
                    )
                    if heard.get(address) is True:
                        break
                await asyncio.sleep(_AGAIN_AFTER)
        del self._speaking[key]

    async def _forget(self, key: str) -> None:
        if futures := self._futures.pop(key, []):
            await self._client.cancel(futures, force=True)

    async def _leave(self) -> None:
        if self._client.status == "running" and self._speaking:
            await asyncio.wait([*self._speaking.values()], timeout=_LEAVE)
        await _within(_LEAVE, self._client.close())


async def _within(seconds: float, waiting: Coroutine[Any, Any, Any]) -> None:
    try:
        await asyncio.wait_for(waiting, seconds)
    except (TimeoutError, OSError):
        return


def first_line(error: BaseException) -> str:
    """What an error of Dask's says, without what it was called by."""
    return str(error).strip().split("\n")[0].rpartition(">: ")[2] or type(error).__name__


def client_class() -> Any:
    """Dask's client. Where nobody else uses Dask in this process, what it logs is left to us to say."""
    alone = "distributed" not in sys.modules
    from distributed import Client

    if alone:
        for name in ("distributed", "distributed.client", "tornado.application"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    return Client


def check_installed(scheduler: Scheduler) -> None:
    """Raise `ConfigError` where Dask is not installed, or lacks certificates for TLS that can be used."""
    try:
        import dask

        client_class()
        from distributed import Security
    except ImportError:
        raise ConfigError(
            "workers names a Dask scheduler, and Dask is not installed here",
            remedy="Install it where command, scheduler and machines run: pip install 'braze-etl[dask]'.",
        ) from None
    missing = [name for key, name in _TLS_FILES.items() if not dask.config.get(key, None)]
    if scheduler.tls and missing:
        raise ConfigError(
            f"dask+tls:// needs certificates, and the environment lacks {', '.join(missing)}",
            remedy=_CERTIFICATES,
        )
    security: Any = Security
    try:
        if scheduler.tls:
            security().get_connection_args("client")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the certificates that {', '.join(_TLS_FILES.values())} name can't be used: {error}",
            remedy=_CERTIFICATES,
        ) from None
