"""The official Python SDK against the sandbox: what it delivers there it would deliver to Amplitude."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from amplitude import Amplitude, BaseEvent, Config, EventOptions, Identify, Revenue

from braze_etl.sandbox.amplitude.project import Project
from braze_etl.sandbox.amplitude.replies import Limits, Reply
from braze_etl.sandbox.server import SandboxServer

Serve = Callable[..., SandboxServer]


@dataclass
class Outcomes:
    """What the SDK says of each event, by its type."""

    codes: dict[str, int] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def __call__(self, event: Any, code: int, _message: str | None) -> None:
        with self.changed:
            self.codes[event.event_type] = code
            self.changed.notify_all()

    def wait_for(self, events: int) -> dict[str, int]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.codes) >= events, timeout=20)
            return dict(self.codes)


@dataclass
class Sdk:
    client: Any
    outcomes: Outcomes

    def track(self, *event_types: str, **keys: Any) -> dict[str, int]:
        """Track one event of each type, flush, and wait until the SDK has an outcome for all."""
        for event_type in event_types:
            self.client.track(BaseEvent(event_type, **{"user_id": "user-000001", **keys}))
        for future in self.client.flush():
            if future is not None:
                future.result(timeout=20)
        return self.outcomes.wait_for(len(event_types))


@pytest.fixture
def connect() -> Iterator[Callable[..., Sdk]]:
    clients: list[Any] = []

    def start(server: SandboxServer, path: str = "/batch", flush_queue_size: int = 200) -> Sdk:
        outcomes = Outcomes()
        config = Config(
            server_url=server.url + path,
            use_batch=path == "/batch",
            flush_queue_size=flush_queue_size,
            flush_interval_millis=50,
            callback=outcomes,
        )
        clients.append(Amplitude("key", config))
        return Sdk(clients[-1], outcomes)

    yield start
    for client in clients:
        client.configuration.flush_max_retries = 0  # nothing is to be tried again while it shuts down
        client.shutdown()


@pytest.mark.parametrize("path", ["/batch", "/2/httpapi"])
def test_tracked_events_arrive(path: str, serve: Serve, connect: Callable[..., Sdk]) -> None:
    project = Project(api_key="key")
    sdk = connect(serve(project), path)
    assert sdk.track("opened", "clicked", event_properties={"a": [1, "b"]}) == {"opened": 200, "clicked": 200}
    assert sorted(event["event_type"] for event in project.events()) == ["clicked", "opened"]
    assert project.stats()["unknown_keys"] == {}


def test_everything_the_sdk_can_say_is_understood(serve: Serve, connect: Callable[..., Sdk]) -> None:
    project = Project()
    sdk = connect(serve(project))
    options, operations = EventOptions(user_id="user-000001"), Identify().set("plan", "pro").add("visits", 1)
    sdk.client.identify(operations, options)
    sdk.client.set_group("org", ["acme", "umbrella"], options)
    sdk.client.group_identify("org", "acme", Identify().set("size", 7))
    sdk.client.revenue(Revenue(price=19.99, quantity=2, product_id="p"), options)
    sdk.track("opened")
    codes = sdk.outcomes.wait_for(4)
    assert codes == {"$identify": 200, "$groupidentify": 200, "revenue_amount": 200, "opened": 200}
    assert project.stats()["events_held"] == 5


def test_a_refused_event_fails_alone_and_the_others_are_sent_again(
    serve: Serve, connect: Callable[..., Sdk]
) -> None:
    project = Project()
    sdk = connect(serve(project))
    codes = sdk.track("opened", "[Amplitude] Start Session", "clicked")
    assert codes == {"opened": 200, "[Amplitude] Start Session": 400, "clicked": 200}


def test_a_429_that_names_nobody_is_sent_again(serve: Serve, connect: Callable[..., Sdk]) -> None:
    server = serve(
        script="- {do: {reply: {status: 429, body: {code: 429, error: Too many requests}}}, times: 1}"
    )
    assert connect(server).track("opened", "clicked") == {"opened": 200, "clicked": 200}
    assert server.stats()["requests"]["429"] == 1


def test_an_event_over_the_daily_quota_fails_and_the_others_are_sent_again(
    serve: Serve, connect: Callable[..., Sdk], post: Callable[..., Reply], make_event: Callable[..., Any]
) -> None:
    project = Project(limits=Limits(daily_quota=1))
    post(project, make_event())  # the quota of the user whose events follow
    sdk = connect(serve(project))
    sdk.client.track(BaseEvent("other user", user_id="user-000002"))
    sdk.track("opened", "clicked")
    assert sdk.outcomes.wait_for(3) == {"other user": 200, "opened": 429, "clicked": 429}


def test_an_oversized_request_is_sent_in_smaller_ones(serve: Serve, connect: Callable[..., Sdk]) -> None:
    server = serve(Project(limits=Limits(max_events=2)))
    names = ("a", "b", "c", "d")
    assert connect(server, flush_queue_size=4).track(*names) == dict.fromkeys(names, 200)
