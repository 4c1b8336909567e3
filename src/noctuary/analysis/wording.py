"""Effects in words, and rounded. Covers the parts of sentences that all findings share."""

from noctuary.space.mechanisms import AXES, phrase

ALL_TASKS = "all"

DECIMALS = 6
"""Findings are rounded, so that their ids do not hang on the last bits of a sum."""


def rounded(
    effect: float, low: float | None, high: float | None
) -> tuple[float, float | None, float | None]:
    def shortened(value: float) -> float:
        return round(value, DECIMALS) + 0.0  # no negative zero

    if low is None or high is None:
        return shortened(effect), None, None
    return shortened(effect), shortened(low), shortened(high)


def mechanism_words(mechanism: str) -> str:
    """Return a mechanism as a noun with its name; the name alone where the space has it not."""
    axis, _, value = mechanism.partition("=")
    return f"{phrase(mechanism)} ({mechanism})" if value in AXES.get(axis, {}) else mechanism


def beside(effect: float) -> str:
    return f"{abs(effect):.3f} {'below' if effect < 0 else 'above'}"


def on_task(task: str) -> str:
    return "on the mean of all tasks" if task == ALL_TASKS else f"on {task}"


def interval_words(low: float | None, high: float | None) -> str:
    return "no interval" if low is None else f"95 % interval {low:.3f} to {high:.3f}"


def verdict(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "too few to tell"
    if low <= 0 <= high:
        return "not distinguishable"
    return "looks better" if low > 0 else "looks worse"
