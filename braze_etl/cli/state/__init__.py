"""`braze-etl state`: release a lease by hand, move the ledger between stores."""

from __future__ import annotations

import click

from braze_etl.cli.state._copy import copy
from braze_etl.cli.state._unlock import unlock

__all__ = ["state"]


@click.group()
def state() -> None:
    """Release a lease by hand; move the state between stores."""


for _command in (unlock, copy):
    state.add_command(_command)
