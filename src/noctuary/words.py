"""Small words for sentences that people read."""


def counted(number: int, noun: str) -> str:
    """Return `no trials`, `1 trial`, `2 trials`."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
