"""One pass of the job: plan, tasks, worker processes, settlements, report."""
