"""One pass of the job: plan, tasks, worker processes, settlements, report, and the 48-hour window."""
