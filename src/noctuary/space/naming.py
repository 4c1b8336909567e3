"""Readable names for genomes, such as `delta-vector-relu-conv4-sigmoid`.

A name leaves out what is plain or follows from the update rule, and still tells any two genomes
of the space apart (a test names them all). Does not cover the names of human baselines.
"""

from noctuary.space.genome import Genome

_GATES = {"none": "", "sigmoid": "sigmoid", "silu": "silugate", "identity": "idgate"}
"""Output gates; SiLU and identity are feature maps as well, so the gate says that it is one."""


def design_name(genome: Genome) -> str:
    """Return the name of a genome; different genomes have different names."""
    delta = genome.update == "delta"
    words = (
        genome.update,
        "" if genome.decay == "none" else genome.decay,
        "" if genome.feature_map == "identity" else genome.feature_map,
        "beta2" if genome.beta_range == "double" else "",
        "l2" if genome.qk_norm == "l2" and not delta else "",
        "" if genome.short_conv == "none" else genome.short_conv,
        _GATES[genome.output_gate],
        "rms" if genome.output_norm == "rms" and delta else "",
    )
    return "-".join(word for word in words if word)
