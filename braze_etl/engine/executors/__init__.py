"""What carries tasks out; today the processes of this machine.

The run needs of an executor only to submit a task, to poll for settlements and deaths, to stop, and to tell
whether it is busy. What crosses the line (a task, a settlement, what a worker is built from) is plain data
that pickles, and a worker opens its own stores. So machines could stand here; ledger and quarantine stay with
the parent. `tests/contracts/test_executor.py` says what holds for each.
"""
