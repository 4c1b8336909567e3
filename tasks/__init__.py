"""The stages as Prefect tasks: thin wrappers over the library, one module a stage.

Here are names, retries, timeouts, persistence, cache keys and artifacts; no logic.
"""
