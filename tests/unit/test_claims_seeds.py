"""The draw of a claim's seeds: fixed, public, and from all of the head that is signed."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noctuary.bench.rungs import FIRST_HELD_OUT_SEED
from noctuary.claims.seeds import SEEDS_END, draw_seeds

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

TEXT = "noctuary/0011223344556677\n12\nq83vq83vq83vq83vq83vq83vq83vq83vq83vq83vq80=\n"
HEAD = f"{TEXT}\n— noctuary/0011223344556677 AAAA\n"


def test_the_seeds_are_those_of_the_written_rule() -> None:
    expected = []
    for number in range(4):
        text = f"noctuary seeds 1\n{TEXT}c1a1m\nbeac0n\n{number}"
        digest = hashlib.sha256(text.encode()).digest()
        expected.append(1_000_000 + int.from_bytes(digest[:8], "big") % (2**31 - 1_000_000))
    assert draw_seeds(HEAD, "c1a1m", 4, "beac0n") == tuple(expected)


def test_they_never_change() -> None:
    assert draw_seeds(HEAD, "c1a1m", 3) == (1727778284, 1456467602, 548940713)


@given(st.integers(1, 200))
def test_fewer_seeds_are_the_first_of_more(count: int) -> None:
    assert draw_seeds(HEAD, "c1a1m", count) == draw_seeds(HEAD, "c1a1m", 200)[:count]


def test_they_are_for_verification_alone_and_none_comes_twice() -> None:
    seeds = draw_seeds(HEAD, "c1a1m", 2000)
    assert len(set(seeds)) == 2000
    assert min(seeds) >= FIRST_HELD_OUT_SEED
    assert max(seeds) < SEEDS_END


@pytest.mark.parametrize(
    ("head", "claim", "randomness"),
    [
        (HEAD.replace("\n12\n", "\n13\n"), "c1a1m", ""),
        (HEAD.replace("q83v", "q83w"), "c1a1m", ""),
        (HEAD.replace("0011223344556677", "0011223344556678"), "c1a1m", ""),
        (HEAD, "c1a1n", ""),
        (HEAD, "c1a1m", "00"),
    ],
)
def test_another_size_root_ledger_claim_or_beacon_draws_others(
    head: str, claim: str, randomness: str
) -> None:
    assert not set(draw_seeds(head, claim, 50, randomness)) & set(draw_seeds(HEAD, "c1a1m", 50))


def test_signatures_do_not_count_or_who_signs_twice_could_choose() -> None:
    cosigned = HEAD + "— witness BBBB\n"
    assert draw_seeds(cosigned, "c1a1m", 5) == draw_seeds(HEAD, "c1a1m", 5)


@pytest.mark.parametrize("head", ["", TEXT, "\n\n— noctuary AAAA\n"])
def test_what_is_no_signed_head_draws_nothing(head: str) -> None:
    with pytest.raises(ValueError, match="no signed tree head"):
        draw_seeds(head, "c1a1m", 3)


def test_no_seeds_are_no_draw() -> None:
    with pytest.raises(ValueError, match="0 seeds"):
        draw_seeds(HEAD, "c1a1m", 0)
