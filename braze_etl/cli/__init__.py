"""The command line: one thin module a command."""

from braze_etl.cli._main import main

__all__ = ["main"]
