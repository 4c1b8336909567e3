"""The Merkle tree of RFC 9162: roots, and proofs that somebody without the tree can check.

Pure functions over a reader of complete subtrees, so that a proof among a million entries reads
some twenty hashes. Does not know what an entry is, nor where hashes are kept.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence

Node = Callable[[int, int], bytes]
"""Hash of the complete subtree over the entries `index * 2^level` to `(index + 1) * 2^level`."""

EMPTY = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """RFC 9162, section 2.1.1."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 9162, section 2.1.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def grown(size: int, leaves: Sequence[bytes], node: Node) -> Iterator[tuple[int, int, bytes]]:
    """Yield level, index and hash of all subtrees that leaves after the first `size` complete."""
    level, start, hashes = 0, size, list(leaves)
    while hashes:
        for index, digest in enumerate(hashes, start):
            yield level, index, digest
        if start % 2:
            start, hashes = start - 1, [node(level, start - 1), *hashes]
        hashes = [node_hash(a, b) for a, b in zip(hashes[::2], hashes[1::2], strict=False)]
        level, start = level + 1, start // 2


def root(size: int, node: Node) -> bytes:
    """Return the root over the first `size` entries."""
    return _hash(0, size, node) if size else EMPTY


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """Return the hashes that lead from an entry to the root, lowest first (section 2.1.3.1).

    Raises:
        ValueError: no such entry among the first `size`.
    """
    if not 0 <= index < size:
        raise ValueError(f"entry {index} among {size}; expected 0 to {size - 1}")
    return _path(index, 0, size, node)


def consistency_proof(old: int, new: int, node: Node) -> list[bytes]:
    """Return what shows that the first `old` entries begin the first `new` (section 2.1.4.1).

    Raises:
        ValueError: `old` is above `new`.
    """
    if not 0 <= old <= new:
        raise ValueError(f"{old} entries before {new}; expected at most as many")
    return _kept(old, 0, new, node, whole=True) if 0 < old < new else []


def verify_inclusion(
    index: int, size: int, leaf: bytes, proof: Sequence[bytes], root_hash: bytes
) -> bool:
    """Return whether the proof puts the leaf at this place under the root (section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    place, last, found = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if place % 2 or place == last:
            found = node_hash(step, found)
            while place % 2 == 0 and place:
                place, last = place // 2, last // 2
        else:
            found = node_hash(found, step)
        place, last = place // 2, last // 2
    return last == 0 and found == root_hash


def verify_consistency(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Return whether the proof shows that the old tree begins the new one (section 2.1.4.2)."""
    if not 0 <= old <= new:
        return False
    if old in (0, new):
        return not proof and old_root == (EMPTY if old == 0 else new_root)
    steps = list(proof)
    if old & (old - 1) == 0:  # the old tree is one complete subtree, whose root is known
        steps = [old_root, *steps]
    if not steps:
        return False
    place, last = old - 1, new - 1
    while place % 2:
        place, last = place // 2, last // 2
    before = after = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if place % 2 or place == last:
            before, after = node_hash(step, before), node_hash(step, after)
            while place % 2 == 0 and place:
                place, last = place // 2, last // 2
        else:
            after = node_hash(after, step)
        place, last = place // 2, last // 2
    return last == 0 and before == old_root and after == new_root


def _split(start: int, end: int) -> int:
    """Return where the largest complete subtree from `start` ends that is not all of it."""
    return start + (1 << (end - start - 1).bit_length() - 1)


def _hash(start: int, end: int, node: Node) -> bytes:
    count = end - start
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return node(level, start >> level)
    middle = _split(start, end)
    return node_hash(_hash(start, middle, node), _hash(middle, end, node))


def _path(index: int, start: int, end: int, node: Node) -> list[bytes]:
    if end - start == 1:
        return []
    middle = _split(start, end)
    if index < middle:
        return [*_path(index, start, middle, node), _hash(middle, end, node)]
    return [*_path(index, middle, end, node), _hash(start, middle, node)]


def _kept(old: int, start: int, end: int, node: Node, *, whole: bool) -> list[bytes]:
    """`whole`: what the old tree has here is all of it, so that its root is known already."""
    if old == end:
        return [] if whole else [_hash(start, end, node)]
    middle = _split(start, end)
    if old <= middle:
        return [*_kept(old, start, middle, node, whole=whole), _hash(middle, end, node)]
    return [*_kept(old, middle, end, node, whole=False), _hash(start, middle, node)]
