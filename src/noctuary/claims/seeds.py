"""A claim's seeds: computed from the first signed tree head that contains its registration.

Commit, then draw: the head depends on the whole registration, so no seed exists before it, and
anybody recomputes them from the head. Covers the computation alone; `registration` says which
head it is. Whoever holds the signing key can register, look and start the ledger over: what a
witness, or a beacon's randomness, is for (`docs/adr/0016`).
"""

import hashlib
from itertools import count as count_from

from noctuary.bench.rungs import FIRST_HELD_OUT_SEED

DOMAIN = b"noctuary seeds 1\n"
"""Begins what is hashed, so that no other hash of the program is a seed; fixed and public."""

SEEDS_END = 2**31
"""Seeds are below it, as every generator takes them."""


def draw_seeds(head_note: str, claim_id: str, count: int, randomness: str = "") -> tuple[int, ...]:
    """Return the seeds of a claim, in the order drawn, none twice.

    The i-th hash is SHA-256(DOMAIN || signed part of the head || claim id || 0x0A || randomness ||
    0x0A || i in decimal digits); its first eight bytes, most significant first, modulo the number
    of seeds that are for verification, are counted from the first of these.

    Args:
        head_note: a tree head as a signed note; its signatures do not count, or who signs twice
            would have two draws.
        randomness: of the beacon, hexadecimal; empty without one.

    Raises:
        ValueError: the note has no signed part, or the count is not positive.
    """
    text, separator, _ = head_note.partition("\n\n")
    if not (text and separator):
        raise ValueError(
            f"{head_note[:40]!r} is no signed tree head; expected text, then a line "
            "that is empty, then signatures"
        )
    if count < 1:
        raise ValueError(f"{count} seeds; expected at least one")
    fixed = DOMAIN + f"{text}\n{claim_id}\n{randomness}\n".encode()
    seeds: dict[int, None] = {}
    for number in count_from():
        digest = hashlib.sha256(fixed + str(number).encode()).digest()
        span = SEEDS_END - FIRST_HELD_OUT_SEED
        seeds.setdefault(FIRST_HELD_OUT_SEED + int.from_bytes(digest[:8], "big") % span)
        if len(seeds) == count:
            break
    return tuple(seeds)
