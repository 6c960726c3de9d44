"""Where a ledger is, by its URI or by a configuration that names it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from braze_etl.checkpoint import Ledger, LedgerIdentity, find_identity, open_ledger
from braze_etl.cli._options import required_config
from braze_etl.clock import SystemClock
from braze_etl.errors import UsageError
from braze_etl.storage import StoreAccess


@dataclass(frozen=True)
class Place:
    """A ledger's URI, how its store is reached, and whose it has to be (None: whoever's it is)."""

    uri: str
    access: StoreAccess
    identity: LedgerIdentity | None

    def whose(self) -> LedgerIdentity:
        """The identity that a configuration asks for, or that the ledger itself tells.

        Raises `LedgerMissingError` where there is none, whatever `state.create` allows to runs.
        """
        found = find_identity(self.uri, access=self.access)
        return self.identity or found

    def refuse_another(self, identity: LedgerIdentity) -> None:
        """Raise `UsageError` when this place is meant for another project or region."""
        ours = self.identity
        if ours and (ours.project, ours.region) != (identity.project, identity.region):
            raise UsageError(
                f"that state belongs to project {identity.project!r} in region {identity.region}, and TO is "
                f"the state of project {ours.project!r} in region {ours.region}",
                remedy="Name the place, or the configuration, of the same project.",
            )

    def open(
        self,
        identity: LedgerIdentity,
        *,
        create: Literal["auto", "never"],
        start_at: datetime | None = None,
    ) -> Ledger:
        """Open the ledger; see `open_ledger`."""
        return open_ledger(
            self.uri,
            identity,
            clock=SystemClock(),
            start_at=start_at,
            create=create,
            access=self.access,
        )


def place_of(text: str) -> Place:
    """The place that a URI means, reached by what the environment says, or that a configuration names."""
    return Place(text, StoreAccess(), None) if "://" in text else configured_place(Path(text))


def configured_place(path: Path | None) -> Place:
    """The place that a configuration names."""
    from braze_etl.run.assembly import ledger_identity, store_access

    settings = required_config(path).require("state", "source", "amplitude.region")
    return Place(settings.state.uri, store_access(settings, settings.state), ledger_identity(settings))
