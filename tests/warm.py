"""Commands of the program as processes that need no import: each is forked from one that has all modules.

A test starts hundreds of commands, and a start costs more than most commands do. What is forked is a process
as any other: a session, folder, environment and pipes of its own. A test of the start itself, or one that
needs the process while it runs, starts the interpreter (`Workplace.start`).
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import re
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from multiprocessing import util
from pathlib import Path

_READ_AT_START = ("PYTHON", "LC_", "LANG")
_STREAMS = (0, 1, 2)
_DELIVERING = ("run", "backfill", "quarantine")
"""Commands that start worker processes."""


def can_be_forked(environ: Mapping[str, str]) -> bool:
    """Whether nothing in the environment is looked at only while the interpreter starts."""
    return _looked_at(environ) == _at_start()


def carry_out(
    arguments: list[str], folder: Path, environ: Mapping[str, str], timeout: float
) -> tuple[int, str, str]:
    """Run `python -m braze_etl` with *arguments* to its end: its exit code, stdout and stderr.

    Raises `TimeoutError` after *timeout* seconds, when it has been killed.
    """
    request = json.dumps({"arguments": arguments, "folder": str(folder), "environ": dict(environ)}).encode()
    readable, writable = zip(os.pipe(), os.pipe(), strict=True)
    with Path(os.devnull).open() as nothing, ThreadPoolExecutor(2) as pool:
        talk, _ = _parent_of_commands()
        socket.send_fds(talk, [len(request).to_bytes(4)], [nothing.fileno(), *writable])
        talk.sendall(request)
        for end in writable:
            os.close(end)
        said = [pool.submit(_read, end) for end in readable]
        pid = _number(talk)
        try:
            talk.settimeout(timeout)
            code = _number(talk)
        except BaseException:  # an interrupted test, too, must leave no answer for the next one
            os.killpg(pid, signal.SIGKILL)
            talk.settimeout(None)
            _number(talk)
            raise
        talk.settimeout(None)
        out, err = (each.result() for each in said)
    return code, out, err


@cache
def _parent_of_commands() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """The process that forks, which ends when this process does, and a connection to it."""
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, __file__, str(theirs.fileno())]
        # Pipes, as its children have: Python looks once at what its streams can do.
        process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    return ours, process


@cache
def _at_start() -> dict[str, str]:
    return _looked_at(os.environ)


def _looked_at(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: environ[name] for name in environ if name.startswith(_READ_AT_START)}


def _read(end: int) -> str:
    with open(end) as stream:
        return stream.read()


def _number(talk: socket.socket) -> int:
    if len(said := talk.recv(4, socket.MSG_WAITALL)) < 4:
        raise EOFError("the process that forks commands has ended")
    return int.from_bytes(said, signed=True)


def _serve(talk: socket.socket) -> list[str] | None:
    """Fork a process for each request; in it, return the arguments. None: there are no more requests."""
    while True:
        head, streams, _, _ = socket.recv_fds(talk, 4, len(_STREAMS))
        if not head:
            return None
        request = json.loads(talk.recv(int.from_bytes(head), socket.MSG_WAITALL))
        if not (pid := os.fork()):
            _become(request, streams, talk)
            arguments: list[str] = request["arguments"]
            return arguments
        for stream in streams:
            os.close(stream)
        talk.sendall(pid.to_bytes(4, signed=True))
        _, status = os.waitpid(pid, 0)
        talk.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, signed=True))


def _become(request: dict[str, object], streams: list[int], talk: socket.socket) -> None:
    """Be the process that was asked for."""
    os.setsid()
    talk.close()
    for stream, own in zip(streams, _STREAMS, strict=True):
        os.dup2(stream, own)
        os.close(stream)
    os.chdir(str(request["folder"]))
    sys.path.insert(0, str(request["folder"]))
    os.environ.clear()
    os.environ.update(request["environ"])  # type: ignore[call-overload]
    time.tzset()


def _fork_server_at_hand() -> None:
    """Fork what becomes this command's fork server, while nothing of the command is in it.

    One that is started as an interpreter imports all that a worker needs, for each command anew.
    """
    ours, theirs = socket.socketpair()
    start = util.spawnv_passfds
    if not (pid := os.fork()):
        ours.close()
        _be_fork_server(theirs)
    theirs.close()

    def spawn(path: bytes, args: list[str], fds: list[int]) -> int:
        if "multiprocessing.forkserver" not in args[-1]:
            return start(path, args, fds)
        util.spawnv_passfds = start
        mask = [*map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ()))]
        request = json.dumps({"code": args[-1], "environ": dict(os.environ), "mask": mask}).encode()
        with ours:
            socket.send_fds(ours, [len(request).to_bytes(4)], fds)
            ours.sendall(request)
        return pid

    util.spawnv_passfds = spawn  # type: ignore[assignment]


def _be_fork_server(talk: socket.socket) -> None:
    """Run the code of a fork server with what it is handed; nothing, for a command that starts none."""
    try:
        head, fds, _, _ = socket.recv_fds(talk, 4, 2)
        if head:
            request = json.loads(talk.recv(int.from_bytes(head), socket.MSG_WAITALL))
            talk.close()
            os.environ.clear()
            os.environ.update(request["environ"])
            signal.pthread_sigmask(signal.SIG_SETMASK, request["mask"])
            exec(re.sub(r"main\(\d+, \d+,", f"main({fds[0]}, {fds[1]},", request["code"]), {})
    finally:
        os._exit(0)


def _import_all() -> None:
    import braze_etl

    for module in pkgutil.walk_packages(braze_etl.__path__, "braze_etl."):
        if not module.name.endswith(("__main__", ".dask")):
            importlib.import_module(module.name)


def _read_models() -> None:
    """Read what boto3 knows of S3, which it keeps for each session anew."""
    import boto3
    import botocore.session

    vars(botocore.session)["create_loader"] = cache(botocore.session.create_loader)
    boto3.client("s3", region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none")


def _compile_readers() -> None:
    """Compile what workers generate for event types under the plain mapping, once for all of them.

    It takes a worker longer than most of the deliveries of tests do.
    """
    from braze_etl.braze.currents.catalogue import load_catalogue
    from braze_etl.flows.currents_to_amplitude import reader
    from braze_etl.mapping.mapper import Mapper
    from braze_etl.mapping.mapping import EventMapping
    from braze_etl.mapping.settings import MappingSection
    from fixtures.schemas import schema_for

    vars(reader)["compile"] = cache(compile)
    functions, mapping = reader.FunctionCache(), EventMapping.load(MappingSection())
    for event_type, described in load_catalogue().items():
        if described.fields:
            schema = json.dumps(schema_for(event_type)).encode()
            functions.get(schema, Mapper(mapping.plan(event_type)))


if __name__ == "__main__":
    del sys.path[0]  # this folder, whose names would hide others
    _import_all()
    _read_models()
    sys.path.append(str(Path(__file__).parents[1]))
    _compile_readers()
    sys.path.pop()
    gc.freeze()  # no child looks through what all of them share: that takes longer than most commands
    if (words := _serve(socket.socket(fileno=int(sys.argv[1])))) is not None:
        if words[:1] and words[0] in _DELIVERING:
            _fork_server_at_hand()
        sys.argv[1:] = words
        runpy.run_module("braze_etl", run_name="__main__", alter_sys=True)
