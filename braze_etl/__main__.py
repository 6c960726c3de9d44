"""`python -m braze_etl` is the same as `braze-etl`."""

import os
import signal


def main() -> None:
    """Run the command line; a signal that comes while it is still being imported ends the process."""
    # At once, for imports take a while, and the first process of a container has no handler of the system's.
    signal.signal(signal.SIGTERM, lambda signum, _: os._exit(128 + signum))
    try:
        from braze_etl.cli import run_command_line

        run_command_line()
    except KeyboardInterrupt:
        os._exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
