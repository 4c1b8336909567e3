"""The archive: what the lab knows, in DuckDB. The only package that imports duckdb.

DuckDB is imported when a database is opened, so importing this package is cheap.
"""

from noctuary.archive.reading import VOLATILE_COLUMNS
from noctuary.archive.store import Archive

__all__ = ["VOLATILE_COLUMNS", "Archive"]
