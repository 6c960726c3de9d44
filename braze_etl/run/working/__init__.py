"""Who does the work: tasks, the processes that take them, and the books of each."""
