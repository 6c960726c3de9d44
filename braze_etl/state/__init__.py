"""The ledger of files, and its lease: which files are done, failed or open, and which run is at work.

`opening` gives a `Ledger`, the one port; behind it are SQLite (`sqlite://`, and `memory://` for tests and
rehearsals) and S3 (`s3://`). One thread of a run's parent process uses it, and writes alone.
"""
