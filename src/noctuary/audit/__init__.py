"""Looks at a candidate before a second of training is spent: reads it, then runs it."""
