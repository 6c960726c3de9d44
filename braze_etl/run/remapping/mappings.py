"""The mappings that files were judged by: kept in the ledger by version, and made again from there."""

from __future__ import annotations

import hashlib
import zlib
from base64 import b64decode, b64encode
from dataclasses import replace
from typing import Any, Final

import orjson

from braze_etl.checkpoint import Ledger
from braze_etl.transform import Mapping, MappingOptions, People


class Mappings:
    """Knows mappings by their versions; `now` is the one in force."""

    def __init__(self, ledger: Ledger, now: Mapping) -> None:
        self.now: Final = now
        self._ledger = ledger
        self._made: dict[str, Mapping | None] = {now.version: now}

    def keep(self) -> None:
        """Have the ledger remember the mapping in force, if it does not know it yet."""
        name, preset = _note(self.now.version), _packed(self.now.data)
        if self._ledger.recall(name):
            return
        digest = hashlib.sha256(preset).hexdigest()[:16]
        if not self._ledger.recall(f"preset:{digest}"):
            self._ledger.remember(f"preset:{digest}", {"packed": b64encode(preset).decode()})
        self._ledger.remember(name, {"options": self.now.options.as_dict(), "preset": digest})

    def of(self, version: str) -> Mapping | None:
        """Give the mapping of that version with the lists and tables of people as they are today.

        None where it can't be had: the ledger does not know it, this release can't read its preset or options
        any more, or its table of people is none that is in use today, or had another content when it decided
        what is filtered.
        """
        if version not in self._made:
            self._made[version] = self._again(version)
        return self._made[version]

    def _again(self, version: str) -> Mapping | None:
        kept = self._ledger.recall(_note(version))
        try:
            options = _salted(MappingOptions.from_dict(kept["options"]), self.now.options)
            people = _people(options, self.now)
            data = self._preset(kept["preset"])
            mapping = None if people is None else Mapping.load(options, people, data=data)
        except (KeyError, ValueError, zlib.error):
            return None  # not kept, or in a form that this release does not have
        return mapping if mapping is not None and mapping.version == version else None

    def _preset(self, digest: str) -> dict[str, Any]:
        packed = self._ledger.recall(f"preset:{digest}")["packed"]
        data: dict[str, Any] = orjson.loads(zlib.decompress(b64decode(packed)))
        return data


def _packed(data: dict[str, Any]) -> bytes:
    """A preset in few bytes, the same for the same data."""
    return zlib.compress(orjson.dumps(data, option=orjson.OPT_SORT_KEYS), 9)


def _note(version: str) -> str:
    """The name of the note: one for all contents of a look-up table, for the options are the same."""
    return f"mapping:{version.partition('~')[0]}"


def _salted(options: MappingOptions, now: MappingOptions) -> MappingOptions:
    """The options with the salt of today: it is never kept, and does not decide whether a record is sent."""
    if not options.privacy.hash:
        return options
    privacy = options.privacy.model_copy(update={"salt": now.privacy.salt})
    return options.model_copy(update={"privacy": privacy})


def _people(options: MappingOptions, now: Mapping) -> People | None:
    """The people of *now*, as these options would have taken them; None where that can't be said."""
    today, before, after = now.people, options.identity.lookup, now.options.identity.lookup
    if before is None:
        return People(suppressed=today.suppressed)
    ways = {"key": before.key, "missing": before.missing}
    if after is None or after.model_copy(update=ways) != before:
        return None
    return replace(today, key=before.key, missing=before.missing)
