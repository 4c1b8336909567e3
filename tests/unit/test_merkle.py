"""The Merkle tree against pymerkle and a naive twin of RFC 9162, and its proofs against changes."""

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from noctuary.ledger.merkle import (
    EMPTY,
    consistency_proof,
    grown,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)

LARGEST = 130
Nodes = dict[tuple[int, int], bytes]


def naive_root(entries: list[bytes]) -> bytes:
    """RFC 9162, section 2.1.1, word for word."""
    if not entries:
        return hashlib.sha256().digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\0" + entries[0]).digest()
    k = naive_split(entries)
    return hashlib.sha256(b"\1" + naive_root(entries[:k]) + naive_root(entries[k:])).digest()


def naive_path(m: int, entries: list[bytes]) -> list[bytes]:
    """Section 2.1.3.1."""
    if len(entries) == 1:
        return []
    k = naive_split(entries)
    if m < k:
        return [*naive_path(m, entries[:k]), naive_root(entries[k:])]
    return [*naive_path(m - k, entries[k:]), naive_root(entries[:k])]


def naive_proof(m: int, entries: list[bytes], whole: bool = True) -> list[bytes]:
    """Section 2.1.4.1."""
    if m == len(entries):
        return [] if whole else [naive_root(entries)]
    k = naive_split(entries)
    if m <= k:
        return [*naive_proof(m, entries[:k], whole), naive_root(entries[k:])]
    return [*naive_proof(m - k, entries[k:], False), naive_root(entries[:k])]


def naive_split(entries: list[bytes]) -> int:
    k = 1
    while 2 * k < len(entries):
        k *= 2
    return k


def entries_of(size: int) -> list[bytes]:
    return [b"entry %d" % index for index in range(size)]


def tree(sizes: list[int]) -> Nodes:
    """Return the nodes of a tree that grows to each size in turn."""
    nodes: Nodes = {}
    size = 0
    for larger in sizes:
        leaves = [leaf_hash(entry) for entry in entries_of(larger)[size:]]
        for level, index, digest in grown(size, leaves, lambda *at: nodes[at]):
            assert (level, index) not in nodes, "a complete subtree never changes"
            nodes[level, index] = digest
        size = larger
    return nodes


FULL = tree([LARGEST])


def read(level: int, index: int) -> bytes:
    return FULL[level, index]


sizes = st.integers(1, LARGEST)


def test_every_root_is_that_of_pymerkle_and_of_the_naive_twin() -> None:
    other = InmemoryTree(algorithm="sha256")
    assert root(0, read) == EMPTY == naive_root([])
    for size, entry in enumerate(entries_of(LARGEST), start=1):
        other.append(entry)
        assert root(size, read) == other.get_state() == naive_root(entries_of(size))


@given(st.lists(sizes, min_size=1, max_size=6))
def test_it_does_not_matter_in_which_steps_a_tree_grew(steps: list[int]) -> None:
    steps = sorted(steps)
    assert tree(steps) == tree(steps[-1:])


@given(sizes, st.data())
@settings(max_examples=60)
def test_an_inclusion_proof_is_the_naive_one_and_pymerkles(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, read)
    assert proof == naive_path(index, entries_of(size))
    other = InmemoryTree.init_from_entries(entries_of(size), algorithm="sha256")
    path = other.prove_inclusion(index + 1).serialize()["path"]
    assert [step.hex() for step in proof] == path[1:]
    leaf = leaf_hash(entries_of(size)[index])
    assert verify_inclusion(index, size, leaf, proof, root(size, read))


@given(sizes, st.data())
@settings(max_examples=60)
def test_a_consistency_proof_is_the_naive_one(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new))
    proof = consistency_proof(old, new, read)
    assert proof == naive_proof(old, entries_of(new))
    assert verify_consistency(old, new, root(old, read), root(new, read), proof)


def test_every_pair_of_sizes_is_consistent() -> None:
    for new in range(40):
        for old in range(new + 1):
            proof = consistency_proof(old, new, read)
            assert verify_consistency(old, new, root(old, read), root(new, read), proof)


@st.composite
def changed(draw: st.DrawFn, proof: list[bytes]) -> list[bytes]:
    """Return the proof with a bit turned, or a step dropped, doubled, added or moved."""
    steps = list(proof)
    place = draw(st.integers(0, max(len(steps) - 1, 0)))
    if steps and draw(st.booleans()):
        bit = draw(st.integers(0, 255))
        number = int.from_bytes(steps[place], "big") ^ (1 << bit)
        steps[place] = number.to_bytes(32, "big")
    elif steps and draw(st.booleans()):
        del steps[place]
    else:
        steps.insert(place, draw(st.binary(min_size=32, max_size=32)))
    return steps


@given(sizes, st.data())
def test_a_changed_inclusion_proof_fails(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaf, top = leaf_hash(entries_of(size)[index]), root(size, read)
    proof = inclusion_proof(index, size, read)
    assert not verify_inclusion(index, size, leaf, data.draw(changed(proof)), top)
    assert not verify_inclusion(index, size, leaf_hash(b"another"), proof, top)
    assert not verify_inclusion(index, size, leaf, proof, leaf_hash(b"another"))
    elsewhere = data.draw(st.integers(-2, size + 2).filter(lambda other: other != index))
    assert not verify_inclusion(elsewhere, size, leaf, proof, top)


@given(st.integers(2, LARGEST), st.data())
def test_a_changed_consistency_proof_fails(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new - 1))
    before, after = root(old, read), root(new, read)
    proof = consistency_proof(old, new, read)
    assert not verify_consistency(old, new, before, after, data.draw(changed(proof)))
    assert not verify_consistency(old, new, leaf_hash(b"another"), after, proof)
    assert not verify_consistency(old, new, before, leaf_hash(b"another"), proof)
    assert not verify_consistency(new + 1, new, before, after, proof)


def test_a_node_is_no_leaf() -> None:
    """What keeps somebody from passing off two hashes as an entry."""
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert node_hash(left, right) != leaf_hash(left + right)


def test_a_proof_of_a_large_tree_reads_few_hashes() -> None:
    asked = []

    def node(level: int, index: int) -> bytes:
        asked.append((level, index))
        return bytes(32)

    size = 1_000_003
    for index in (0, 524_287, 524_288, 999_999, size - 1):
        asked.clear()
        assert len(inclusion_proof(index, size, node)) <= 20
        assert len(asked) <= 40
        asked.clear()
        consistency_proof(index + 1, size, node)
        assert len(asked) <= 40
