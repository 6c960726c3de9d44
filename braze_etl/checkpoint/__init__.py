"""The ledger of files, and its lease."""
