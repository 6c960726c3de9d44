"""`braze-etl quarantine`: what was set aside and why; send it again or give it up."""

from __future__ import annotations

import click

from braze_etl.cli.quarantine._drop import drop
from braze_etl.cli.quarantine._list import list_entries
from braze_etl.cli.quarantine._replay import replay
from braze_etl.cli.quarantine._show import show

__all__ = ["quarantine"]


@click.group()
def quarantine() -> None:
    """Look at what was set aside; send it again or give it up."""


for _command in (list_entries, show, replay, drop):
    quarantine.add_command(_command)
