"""Mechanisms are guessed from words, and an abstract's plain claims become insights of our own."""

import pytest

from noctuary.domain import Insight, Paper
from noctuary.literature.abstracts import CONDITIONS, LONGEST, STRENGTH, insights_from_abstract
from noctuary.literature.keywords import mechanisms_in
from noctuary.space.mechanisms import AXES

MECHANISMS = {f"{axis}={value}" for axis, values in AXES.items() for value in values}
PAPER = Paper(
    paper_id="s2:0123",
    title="A paper",
    authors=("A. Author",),
    year=2025,
    venue="",
    arxiv_id=None,
    account="",
    source="semantic_scholar",
)


def claims(abstract: str) -> list[tuple[int, str, set[str]]]:
    found = insights_from_abstract(PAPER, abstract)
    return [(i.direction, i.capability, set(i.mechanisms)) for i in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Gated Delta Networks with the delta rule", {"update=delta"}),
        ("The gated delta rule, again", {"update=delta", "decay=scalar"}),
        ("Gated linear attention", {"decay=vector", "update=additive"}),
        ("State tracking through negative eigenvalues", {"beta_range=double"}),
        ("NoPE or rotary position embeddings", {"position=none", "position=rotary"}),
        ("Multi\u2011scale convolutions and token\u2013shift", {"short_conv=multi_scale"}),
        ("A Taylor feature map beside sliding windows", {"feature_map=taylor"}),
        ("QK\u00a0normalization", {"qk_norm=l2"}),
        ("A study of whales", set()),
        ("", set()),
    ],
)
def test_mechanisms_are_guessed_from_words(text: str, expected: set[str]) -> None:
    found = mechanisms_in(text)
    assert expected <= set(found) <= MECHANISMS
    assert expected or not found


@pytest.mark.parametrize(
    ("abstract", "expected"),
    [
        (
            "Allowing negative eigenvalues unlocks parity and other state\u2011tracking tasks.",
            [(1, "state_tracking", {"beta_range=double"})],
        ),
        (
            "By adding a short causal convolution, we improve in-context recall.",
            [(1, "recall", {"short_conv=conv4"})],
        ),
        (
            "The gated delta rule outperforms linear attention in language modeling.",
            [(1, "language_modelling", {"update=delta", "decay=scalar"})],
        ),
        (
            "Fixed decay fails at retrieval.",
            [(-1, "recall", {"decay=fixed"})],
        ),
        (
            "Multi-scale convolutions boost associative recall and reduce perplexity.",
            [
                (1, "recall", {"short_conv=multi_scale"}),
                (1, "language_modelling", {"short_conv=multi_scale"}),
            ],
        ),
        (
            "While linear attention struggles with associative recall, our delta rule improves "
            "recall on all tasks.",
            [(-1, "recall", {"update=additive"}), (1, "recall", {"update=delta"})],
        ),
    ],
)
def test_plain_claims_are_read(abstract: str, expected: list[tuple[int, str, set[str]]]) -> None:
    assert claims(abstract) == expected


@pytest.mark.parametrize(
    ("abstract", "expected"),
    [
        (
            "Rotary position embeddings do not improve length generalization.",
            [(0, "length_extrapolation", {"position=rotary"})],
        ),
        (
            "QK-norm doesn\u2019t help perplexity.",
            [(0, "language_modelling", {"qk_norm=l2"})],
        ),
        (
            "Group normalization lowers perplexity without harming throughput.",
            [(1, "language_modelling", {"output_norm=group"})],
        ),
        (
            "Token shift brings no gains in language modelling.",
            [(0, "language_modelling", {"token_shift=blend"})],
        ),
        (
            "Without short convolutions, recall degrades sharply.",
            [(1, "recall", {"short_conv=conv4"})],
        ),
        (
            "We find that recall degrades without a short convolution.",
            [(1, "recall", {"short_conv=conv4"})],
        ),
        (
            "Models match the perplexity of the baseline without a short convolution.",
            [(0, "language_modelling", {"short_conv=conv4"})],
        ),
    ],
)
def test_negations_turn_a_claim(abstract: str, expected: list[tuple[int, str, set[str]]]) -> None:
    assert claims(abstract) == expected


@pytest.mark.parametrize(
    "abstract",
    [
        "",
        "A study of whales that improves recall.",
        "We ask whether token shift improves recall.",
        "Does the delta rule improve recall?",
        "Fixed decay may hurt recall.",
        "Unlike linear attention, our model improves recall.",
        "We improve the recall of linear attention.",
        "Our model improves recall over linear attention with fixed decay.",
        "The delta rule is defined below, and recall is measured.",
        "The delta rule improves recall. In later tests the delta rule fails at recall.",
        "Channel-wise gating improves on scalar gating in recall, and degrades with it.",
        "\u30c7\u30eb\u30bf\u898f\u5247\u306f\u60f3\u8d77\u3092\u6539\u5584\u3059\u308b\u3002",
    ],
)
def test_what_is_no_plain_claim_gives_nothing(abstract: str) -> None:
    assert claims(abstract) == []


def test_an_insight_says_it_in_words_of_ours() -> None:
    abstract = "Our flabbergasting delta rule improves MQAR. Our delta rule improves MQAR."
    assert insights_from_abstract(PAPER, abstract) == (
        Insight(
            statement="Recall from the context is better with the delta rule.",
            mechanisms=("update=delta",),
            capability="recall",
            direction=1,
            strength=STRENGTH,
            conditions=CONDITIONS,
            evidence="s2:0123",
        ),
    )


def test_only_the_beginning_of_an_endless_abstract_is_read() -> None:
    claim = "The delta rule improves recall. "
    assert len(claims(claim + "a" * 10 * LONGEST)) == 1
    assert claims("a " * LONGEST + claim) == []
