"""What crosses from the command to a machine before any task: all that is needed there, and no secret."""

from __future__ import annotations

import hmac
import os
import pickle
import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, Self

import braze_etl
from braze_etl.config.unresolved import Unresolved
from braze_etl.model import FileRef

_NONCE_BYTES = 16
_MARK_DIGITS = 8


class Unfit(NamedTuple):
    """Why a machine gets no work, and what to do about it."""

    cause: str
    remedy: str


class Software(NamedTuple):
    """What has to be the same in the command and on a machine: there, too, one image runs."""

    version: str
    sources: str
    """Digest of the package's files: two builds may bear one version."""
    python: str
    dask: str

    @classmethod
    def here(cls) -> Self:
        """That of this process."""
        python = ".".join(map(str, sys.version_info[:2]))
        return cls(braze_etl.__version__, _digest(), python, version("distributed"))

    def differs_from(self, commands: Software) -> Unfit | None:
        """Why this, of a machine, does not go with that of the command."""
        names = ("braze-etl", "another build of braze-etl", "Python", "Dask")
        for name, here, there in zip(names, self, commands, strict=True):
            if here != there:
                which = f" {here}, and the command {there}" if here != self.sources else ""
                return Unfit(f"it has {name}{which}", "Run scheduler, command and machines from one image.")
        return None


@dataclass(frozen=True, slots=True)
class Shipment:
    """What a machine needs to bring its processes up; it travels as bytes, and once.

    Settings are in it as they are written, with `${NAME}` for what the machine's own environment holds.
    """

    nonce: bytes
    marks: Mapping[str, str]
    serve: bytes
    """What a worker process does, pickled: called with its pipe. Nothing else takes it apart."""
    prove: bytes
    """What proves that it can, likewise: called with a file, it gives an `Unfit` or None."""
    module: str
    """Imported in the fork server of the machine."""

    @classmethod
    def of(
        cls,
        serve: Callable[[Connection], None],
        prove: Callable[[FileRef | None], Unfit | None],
        module: str,
        settings: Unresolved[Any],
        environ: Mapping[str, str] = os.environ,
    ) -> Self:
        """Pack it; raises `ConfigError` where a secret would travel."""
        settings.refuse_written_secrets()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        marks = {name: _mark(nonce, name, environ) for name in settings.variables()}
        return cls(nonce, marks, pickle.dumps(serve), pickle.dumps(prove), module)

    def unfit(self, environ: Mapping[str, str] = os.environ) -> Unfit | None:
        """Why a machine with *environ* is unfit: it lacks variables of the command, or they differ."""
        here = {name: _mark(self.nonce, name, environ) for name in self.marks}
        if missing := [name for name, mark in self.marks.items() if mark and not here[name]]:
            words = f"its environment lacks {', '.join(missing)}"
        elif others := [name for name, mark in self.marks.items() if here[name] != mark]:
            words = f"its environment has another value for {', '.join(others)}"
        else:
            return None
        return Unfit(words, "Give each machine the environment of the command.")


def _mark(nonce: bytes, name: str, environ: Mapping[str, str]) -> str:
    """Tells whether two environments have one value, and no value; empty where it is not set."""
    value = environ.get(name)
    if not value:
        return ""
    return hmac.new(nonce, f"{name}={value}".encode(), "sha256").hexdigest()[:_MARK_DIGITS]


@cache
def _digest() -> str:
    """A digest of all files of this package."""
    root, digest = Path(braze_etl.__file__).parent, sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(root)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()
