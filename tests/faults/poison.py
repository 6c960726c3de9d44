"""A file that does something terrible to whoever reads it, for a whole program: no bytes do that any more."""

from __future__ import annotations

from pathlib import Path

_BEHAVIOUR = """
import os, re, signal, threading, time
from braze_etl.engine import worker
from braze_etl.engine.executors import local

local.PATIENCE = local.PATIENCE_ALONE = local.PATIENCE_AGAIN = {patience}
local._SIGN_EVERY = {patience} / 10

def _kill_group():
    os.killpg(0, signal.SIGKILL)

def _hang_in_c():
    re.match("(a|a)*$", "a" * 64 + "b")  # holds the interpreter's lock for longer than there is time

def _kill():
    os.kill(os.getpid(), signal.SIGKILL)

def _kill_once():
    with open({log!r}) as log:
        if len(log.readlines()) == 1:
            _kill()

def _sleep():
    time.sleep(600)

def _fail():
    raise ValueError("ann@people.example")

def _hang():
    while True:
        pass

_read = worker.blocks_of

def _act(key):
    for part, act in {parts!r}.items():
        if part in key:
            with open({log!r}, "a") as log:
                log.write(key + "\\n")
            globals()[act]()

def _poisoned(due, *more):
    _act(due.ref.key)
    return _read(due, *more)

worker.blocks_of = _poisoned
"""
_COMPARING = """
from braze_etl.flows.currents_to_amplitude.remapped import Comparer

_compare = Comparer.compare

def _compared(self, file, *more):
    _act(file.ref.key)
    return _compare(self, file, *more)

Comparer.compare = _compared
"""


def poison(
    folder: Path, parts: dict[str, str], *, patience: float = 300.0, comparing: bool = False
) -> dict[str, str]:
    """The environment in which files whose keys contain a part do what stands beside it: the name of an act.

    Each reading of one is a line in `folder/poisoned.txt`; when *comparing*, also one by several mappings.
    """
    where = folder / "poison"
    where.mkdir(exist_ok=True)
    text = _BEHAVIOUR.format(patience=patience, parts=parts, log=str(folder / "poisoned.txt"))
    (where / "sitecustomize.py").write_text(text + _COMPARING * comparing)
    return {"PYTHONPATH": str(where)}
