"""Where due files come from: a listing and what the ledger lacks of it, or the quarantine."""
