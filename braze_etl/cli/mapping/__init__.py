"""`braze-etl mapping`: the mapping in force, and its difference to what a project has."""

from __future__ import annotations

import click

from braze_etl.cli.mapping._check import check
from braze_etl.cli.mapping._export import export
from braze_etl.cli.mapping._list import list_types
from braze_etl.cli.mapping._show import show

__all__ = ["mapping"]


@click.group()
def mapping() -> None:
    """Look at the mapping in force, and compare it with an Amplitude project."""


for _command in (list_types, show, check, export):
    mapping.add_command(_command)
