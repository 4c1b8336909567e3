"""Runs candidate code in processes of its own, which can reach nothing and use little.

`launcher` starts `server`, which stays warm and forks a `child` for each job. The child applies
the `layers` (`limits`, `files`, `syscalls`) to itself, tries out whether they hold (`canaries`),
says so to the server, and only then reads candidate code. What comes back is believed only in the
shapes of `outcome`. What is covered and what is not: docs/threat-model.md.
"""
