"""Texts of mixer files for the tests of the static audit, and what it says of them."""

from noctuary.domain import Check

GOOD = """
import torch

class Mixer(torch.nn.Module):
    def forward(self, x):
        return x
"""


def failed(checks: tuple[Check, ...]) -> dict[str, str]:
    return {check.name: check.detail for check in checks if not check.passed}


def within(*lines: str) -> str:
    """Return a good file whose forward begins with these lines, the first one being line 8."""
    body = "".join(f"        {line}\n" for line in lines)
    return (
        "\nimport math\nimport torch\nimport torch.nn.functional as F\n"
        f"class Mixer(torch.nn.Module):\n    def forward(self, x, eps=0.0):\n        y = x\n{body}"
        "        return y\n"
    )


def below(*lines: str) -> str:
    """Return a good file with these lines at its end, the first one being line 7."""
    return GOOD + "".join(f"{line}\n" for line in lines)
