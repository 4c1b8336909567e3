"""What a mixer is tried on: noise and what only looks like noise, each kind in batches of its own.

A leak may wait for something rare, or for its absence, so a batch is of one kind. In a model a
mixer sees tokens of root mean square one. Covers what comes in and how its future is changed; the
numbers come from a generator that the candidate's own draws do not move. Does not cover the data
of the tasks: the evaluation compares prefixes on those.
"""

import torch
from torch import Tensor

KINDS = (
    "noise",
    "quiet",
    "text",
    "pairs",
    "outliers",
    "blanks",
    "steady",
    "alternating",
    "medley",
)
CHANGES = ("others", "reversed", "loud", "blank", "last", "first")

LOUD = 30.0
TEXT = (
    "The night shift reads the meters at ten, at one and at four, and writes what it saw into "
    "the book: 17.2 degrees, 0 alarms, door closed. Nobody signs for another. In the morning "
    "the day shift turns the page, reads 17.2, 17.1, 17.1, and asks: who was here at four? The "
    "book says (see page 12): nobody; the 4 was written at 1. So much for books, and for doors!"
)


class Inputs:
    """Draws inputs (B, T, D) of a width, always the same for the same seed and order."""

    def __init__(self, d_model: int, seed: int) -> None:
        self.d_model = d_model
        self.generator = torch.Generator().manual_seed(seed)
        table = self._normal(256, d_model)
        self.table = table / table.square().mean(-1, keepdim=True).sqrt()

    def __call__(self, kind: str, batch: int, length: int) -> Tensor:
        """Return a batch of one of the `KINDS`."""
        x = self._normal(batch, length, self.d_model)
        if kind == "noise":
            return x
        if kind == "quiet":
            return 0.01 * x
        if kind == "text":
            starts = self.integers(0, len(TEXT), batch)
            at = (starts[:, None] + torch.arange(length)).remainder(len(TEXT))
            return self.table[torch.tensor(list(TEXT.encode("ascii")))[at]]
        if kind == "pairs":  # few tokens, each of them many times
            return self.table[self.integers(0, 6, batch, length)]
        if kind == "outliers":
            return torch.where(self._some(batch, length, 0.05), LOUD * x, x)
        if kind == "blanks":
            return torch.where(self._some(batch, length, 0.4), 0.0, x)
        if kind == "steady":
            return x[:, :1].repeat(1, length, 1)
        if kind == "alternating":
            signs = 1.0 - 2.0 * torch.arange(length).remainder(2)
            return x[:, :1] * signs[:, None]
        if kind == "medley":  # each token of another kind
            parts = [x, *(self(one, batch, length) for one in ("pairs", "outliers"))]
            parts.append(torch.zeros_like(x))
            chosen = self.integers(0, len(parts), batch, length)[..., None]
            return torch.stack(parts).gather(0, chosen.expand_as(x)[None]).squeeze(0)
        raise ValueError(f"{kind!r} is no kind of input; expected one of {', '.join(KINDS)}")

    def changed(self, x: Tensor, cuts: Tensor, first: int = 0) -> Tensor:
        """Return the batch with another future from each row's cut on, in turn as `CHANGES` say.

        Args:
            cuts: positions (B,); what is before them stays.
            first: the change of the first row.
        """
        others = 3 * self._normal(*x.shape)
        changed = x.clone()
        for row, cut in enumerate(cuts.tolist()):
            how = CHANGES[(first + row) % len(CHANGES)]
            if how == "others":
                changed[row, cut:] = others[row, cut:]
            elif how == "reversed":
                changed[row, cut:] = x[row, cut:].flip(0)
            elif how == "loud":
                changed[row, cut:] = LOUD * others[row, cut:]
            elif how == "blank":
                changed[row, cut:] = 0.0
            elif how == "last":
                changed[row, -1] = others[row, -1]
            else:
                changed[row, cut] = others[row, cut]
        return changed

    def cuts(self, batch: int, length: int) -> Tensor:
        """Return positions (B,) of 1 to T - 1, half of them late, where chunks end."""
        cuts = self.integers(1, length, batch)
        last = max(1, (length - 1) // 16)
        borders = 16 * self.integers((last + 1) // 2, last + 1, batch)
        return torch.where(torch.arange(batch) % 2 == 0, borders.clamp(max=length - 1), cuts)

    def integers(self, low: int, high: int, *size: int) -> Tensor:
        return torch.randint(low, high, size, generator=self.generator)

    def _normal(self, *size: int) -> Tensor:
        return torch.randn(*size, generator=self.generator)

    def _some(self, batch: int, length: int, share: float) -> Tensor:
        """Return (B, T, 1): which tokens are struck, at least one in each row."""
        struck = torch.rand(batch, length, generator=self.generator) < share
        return struck.scatter(1, self.integers(0, length, batch, 1), True)[..., None]
