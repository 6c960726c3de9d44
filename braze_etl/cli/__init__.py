"""The command line: one thin module a command. Nothing heavy is imported before a command needs it."""

__all__ = ["main"]


def main() -> None:
    """Run the command that `sys.argv` names, and exit with its documented code."""
    from braze_etl.cli._main import run_command_line

    run_command_line()
