"""Names of genomes: readable, short, and different for different genomes."""

import re
from random import Random

from noctuary.space.human import HUMAN
from noctuary.space.mechanisms import AXES
from noctuary.space.naming import WORDS, design_name
from noctuary.space.operators import draw, neighbours


def test_published_mixers_have_telling_names() -> None:
    names = {name: design_name(genome) for name, genome in HUMAN.items()}
    assert len(set(names.values())) == len(names)
    assert names["delta_net"] == "delta-silu-conv4-rms"
    assert names["delta_net_neg"] == "delta-silu-beta2-conv4-rms"
    assert names["linear_attention"] == "additive-elu"
    assert names["based"] == "additive-taylor-window-sumnorm"


def test_names_of_twenty_thousand_genomes_differ_and_are_short() -> None:
    rng = Random(5)
    genomes = {draw(rng)[0] for _ in range(20_000)}
    names = {design_name(genome) for genome in genomes}
    assert len(names) == len(genomes)
    for name in names:
        words = name.split("-")
        assert name.replace("-", "").isalnum() and name == name.lower()
        assert len(words) <= WORDS or re.fullmatch(r"[0-9a-f]{6}", words[WORDS])


def test_the_next_genomes_have_other_names() -> None:
    for genome in HUMAN.values():
        names = [design_name(other) for other in (genome, *neighbours(genome))]
        assert len(set(names)) == len(names)


def test_a_name_says_what_does_not_follow_and_nothing_else() -> None:
    # the delta rule entails its norm and its write strength; the gate per channel its function
    assert design_name(HUMAN["kimi_delta"]).startswith("delta-vector-silu-conv4-sigmoidgate-rms")
    assert "l2" not in design_name(HUMAN["delta_net"])
    assert sum(len(values) for values in AXES.values()) == 76  # the vocabulary has them all
