"""Readable names for genomes, such as `delta-vector-relu-conv4`.

A name leaves out what follows from the rest of it: each word is a choice that the repair of the
words before it would not have made. Past `WORDS` words the rest becomes a short hash. So the name
tells any two genomes apart, certainly where it has no hash. Does not cover the names of human
baselines.
"""

from noctuary.canonical import content_id
from noctuary.domain import Axes
from noctuary.space.genome import Genome, repaired
from noctuary.space.mechanisms import AXES

WORDS = 6
"""Words of a name at most, beside the hash of what they leave out."""

_HASH = 6
"""Hexadecimal digits of the hash: one name in 16 million is that of another genome as well."""

_VOCABULARY: dict[str, str] = {
    "update": "additive delta gdelta",
    "decay": "nodecay fixed scalar vector",
    "feature_map": "raw elu relu silu softmax taylor",
    "beta_range": "beta0 beta1 beta2",
    "delta_steps": "onestep twostep threestep",
    "input_gate": "noinput step complement",
    "local_window": "nowindow window",
    "layer_pattern": "same alternate",
    "short_conv": "noconv conv4 conv4b conv2s",
    "token_shift": "noshift shift",
    "output_gate": "nogate sigmoidgate silugate lineargate",
    "position": "nopos rotary",
    "qk_norm": "nol2 l2",
    "output_norm": "nonorm rms rmsall group sumnorm",
    "value_skip": "noskip skip bonus",
    "heads": "heads halfheads twiceheads",
    "state_size": "fullstate halfstate",
    "decay_form": "noform softplus sigmoid16 exponential bounded",
    "decay_init": "noinit spread plaindecay randomdecay slow medium fast",
    "beta_init": "plainbeta lowbeta highbeta",
    "gate_rank": "fullrank lowrank",
    "gate_init": "plaingate opengate",
    "gate_place": "gateafter gatebefore",
    "fusion": "fusedsum fusedgate",
}
"""axis -> a word for each of its values, in their order; the axes in the order of the words."""

_WORD: dict[str, dict[str, str]] = {
    axis: dict(zip(AXES[axis], words.split(), strict=True)) for axis, words in _VOCABULARY.items()
}


def design_name(genome: Genome) -> str:
    """Return the name of a genome; different genomes have different names."""
    said: Axes = {"update": genome.update}
    follows = repaired(said, keep=said)
    while follows != genome:
        if len(said) == WORDS:
            return "-".join([*_words(said), content_id(genome.telling)[:_HASH]])
        axis = next(a for a in _WORD if getattr(follows, a) != getattr(genome, a))
        said[axis] = getattr(genome, axis)
        follows = repaired(said, keep=said)
    return "-".join(_words(said))


def _words(said: Axes) -> list[str]:
    return [words[said[axis]] for axis, words in _WORD.items() if axis in said]
