"""`braze-etl doctor`: every prerequisite, one by one."""

from __future__ import annotations

import click


@click.command()
def doctor() -> int:
    """Check every prerequisite one by one, each with its remedy."""
    raise click.ClickException("not there yet")
