"""The ledger in S3: immutable objects, and one head that changes by compare-and-swap.

`head` is the only place where the state moves on. `segments` has the rows of files, `runs` the runs and the
notes, `objects` packs and names them, `compaction` keeps them few. `lease` fences by a generation number in
the head. Below is a `ConditionalStore`: read, create if absent, replace if unchanged.
"""
