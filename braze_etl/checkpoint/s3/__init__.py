"""The ledger in an object store, for jobs without a disk: plain objects, and conditional writes.

::

    head.json                          what the ledger is, and which of the objects below belong to it
    lease.json                         who is at work; free when it names nobody
    journal/<stamp>.json.gz            one settlement, whole; up to 16 of them
    days/<date>/<stamp>.json.gz        the files of one `date=` day
    open/<stamp>.json.gz               the open files, with their positions
    catalogue/<stamp>.json.gz          which object holds which of the older days
    runs/<stamp>.json.gz               up to 32 runs, and the names of the objects before
    probe/<token>                      for a moment, while conditional writes are tried

All but the first two are written once, under a name that is never used again (the number of a head and some
random letters), before the head that names them. A settlement is stored when its head is: two requests. What
no head names any more is deleted.
"""

from braze_etl.checkpoint.s3.lease import thread_keeper
from braze_etl.checkpoint.s3.ledger import S3Ledger
from braze_etl.checkpoint.s3.process import Machine

__all__ = ["Machine", "S3Ledger", "thread_keeper"]
