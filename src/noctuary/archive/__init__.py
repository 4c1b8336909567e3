"""The archive: what the lab knows, in DuckDB. The only package that imports duckdb.

DuckDB is imported when a database is opened, so importing this package is cheap.
"""

from noctuary.archive.store import VOLATILE_COLUMNS, Archive

__all__ = ["VOLATILE_COLUMNS", "Archive"]
