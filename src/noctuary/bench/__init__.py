"""What is measured: tasks, and the versioned suites that fix every number of a trial."""
