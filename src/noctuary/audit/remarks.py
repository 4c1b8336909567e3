"""What the static checks say: a line and what is wrong there, gathered into a verdict."""

from collections.abc import Iterable

from noctuary.domain import Check

SHOWN = 5

Remark = tuple[int, str]
"""A line number, and what is wrong there."""


def verdict(name: str, remarks: Iterable[Remark], advice: str = "") -> Check:
    """Return the check; `measured` counts the problems, `limit` is 0. Advice ends the detail."""
    found = sorted(set(remarks))
    shown = [f"line {line}: {what}" for line, what in found[:SHOWN]]
    shown += [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    shown += [advice] if found and advice else []
    return Check(name=name, passed=not found, measured=len(found), limit=0, detail="; ".join(shown))
