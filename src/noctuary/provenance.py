"""How something came about, as a statement says it: by which code, where, under which rules.

Covers the facts that stages and evaluations share. Does not know what was recorded.
"""

import datetime
import functools
import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import noctuary
from noctuary.archive.rows import finite
from noctuary.canonical import canonical_json
from noctuary.config import Settings
from noctuary.domain import Cycle
from noctuary.ledger.statements import utc_text
from noctuary.plan import suite_of
from noctuary.policy import Policy

_LIBRARIES = ("torch", "lightning", "numpy", "scipy", "scikit-learn", "duckdb", "pydantic")
"""Those whose versions may show in the numbers."""


@functools.cache
def code_version() -> str:
    """Return a hash of the library's own source files."""
    root = Path(noctuary.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.suffix in (".py", ".sql", ".jinja") and path.is_file():
            digest.update(path.relative_to(root).as_posix().encode("utf-8"))
            digest.update(path.read_bytes())
    return digest.hexdigest()


@functools.cache
def environment() -> Mapping[str, str]:
    """Return what this machine and its libraries are; each trial knows its own in detail."""
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        **{name: importlib.metadata.version(name) for name in _LIBRARIES},
    }


def value_digest(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of a value, null for numbers that are none."""
    return hashlib.sha256(canonical_json(finite(value))).hexdigest()


def circumstances(settings: Settings, policy: Policy) -> dict[str, Any]:
    """Return the facts about what is done now, by these settings and under these rules."""
    return {
        "started": utc_text(datetime.datetime.now(datetime.UTC)),
        "settings": settings.settings_id,
        "policy": policy.policy_id,
        "suite": suite_of(settings.training).version,
        "code": code_version(),
        "environment": dict(environment()),
    }


def cycle_facts(cycle: Cycle) -> dict[str, Any]:
    """Return which cycle it is; the seed as text, as it may be larger than JSON can say."""
    return {"id": cycle.cycle_id, "number": cycle.number, "seed": str(cycle.seed)}
