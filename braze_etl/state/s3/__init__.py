"""The ledger in S3: immutable objects, and one head that changes by compare-and-swap."""
