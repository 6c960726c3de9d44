"""What carries tasks out: each module is an `Executor` (see `flow`); today the processes of this machine.

Machines could stand here, too: what crosses the line is plain data. `tests/contracts/test_executor.py` says
what holds for each.
"""
