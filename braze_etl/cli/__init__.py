"""The command line: one thin module a command. Nothing heavy is imported before a command needs it."""

__all__ = ["main"]


def main() -> None:
    """Run the command that `sys.argv` names, and exit with its documented code."""
    import os
    import signal

    # At once, for imports take a while, and the first process of a container has no handler of the system's.
    signal.signal(signal.SIGTERM, lambda signum, _: os._exit(128 + signum))
    try:
        from braze_etl.cli._main import run_command_line

        run_command_line()
    except KeyboardInterrupt:
        os._exit(128 + signal.SIGINT)
