"""`python -m braze_etl` is the same as `braze-etl`."""

from braze_etl.cli import main

if __name__ == "__main__":
    main()
