"""The order of things: one research cycle, and a night of cycles, as Prefect flows."""
