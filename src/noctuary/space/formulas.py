"""A genome as formulas: the lines of the docstring of a rendered mixer.

Covers the recurrence, what its letters stand for, and the output. Sizes and numerics, which the
formulas leave out, are in the code below them.
"""

from collections.abc import Iterator

from noctuary.space.genome import Genome

_FEATURES = {
    "elu": "elu(.) + 1",
    "relu": "relu(.)",
    "silu": "silu(.)",
    "softmax": "softmax(.)",
    "taylor": "Taylor features",
}
_CONVOLUTIONS = {
    "conv4": "a causal convolution of width 4",
    "conv4_bias": "a causal convolution of width 4 with a bias",
    "multi_scale": "causal convolutions of width 4 at strides 1 and 4, added up",
}
_STARTS = {"slow": "0.999", "medium": "0.99", "fast": "0.9"}


def formulas(genome: Genome) -> list[str]:
    """Return the formulas of a genome, one a line; S has a row per key channel."""
    return [
        *_recurrence(genome),
        *_read(genome),
        *_heads(genome),
        *_decay(genome),
        *_strength(genome),
        *_output(genome),
    ]


def _recurrence(genome: Genome) -> Iterator[str]:
    alpha = {
        "none": "",
        "fixed": "gamma ",
        "scalar": "alpha_t ",
        "vector": "diag(alpha_t) ",
    }[genome.decay]
    if genome.update == "general_delta":
        yield "S_t = (diag(alpha_t) - (a_t * kappa_t) kappa_t^T) S_(t-1) + k_t v_t^T"
    elif genome.delta_steps != "one":
        each = f"for each of the {genome.delta_steps} inner steps j of token t:"
        yield f"S <- {alpha}S, then {each}" if alpha else each
        yield "S <- (I - beta_tj k_tj k_tj^T) S + beta_tj k_tj v_tj^T"
    elif genome.update == "delta":
        yield f"S_t = (I - beta_t k_t k_t^T) {alpha}S_(t-1) + beta_t k_t v_t^T"
    else:
        write = {"none": "k_t v_t^T", "step": "dt_t k_t v_t^T", "complement": "(1 - alpha_t) v_t^T"}
        yield f"S_t = {alpha}S_(t-1) + {write[genome.input_gate]}"


def _read(genome: Genome) -> Iterator[str]:
    plain = genome.update == "general_delta" or genome.input_gate != "none"
    width = "F" if genome.feature_map == "taylor" else "K"
    scale = "" if plain else f" / sqrt({width})"
    if genome.output_norm == "sum":
        yield "o_t = S_t^T q_t / z_t^T q_t, where z_t is S_t for values of one"
    elif genome.delta_steps != "one":
        yield f"o_t = S^T q_t{scale}, after the last of them"
    elif genome.value_skip == "skip":
        yield f"o_t = S_t^T q_t{scale} + skip v_t, with a learnt skip per head"
    else:
        yield f"o_t = S_t^T q_t{scale}"
    if genome.output_norm == "sum" and genome.value_skip == "skip":
        yield "    + skip v_t, with a learnt skip per head"


def _heads(genome: Genome) -> Iterator[str]:
    key = {"general_delta": "p"}.get(genome.update, "k")
    source = "a projection of x'" if genome.token_shift == "blend" else "a projection"
    made_of = [_CONVOLUTIONS[genome.short_conv]] if genome.short_conv != "none" else []
    features = [_FEATURES[genome.feature_map]] if genome.feature_map != "identity" else []
    features += ["an L2 norm"] if genome.qk_norm == "l2" else []
    features += ["rotary positions"] if genome.position == "rotary" else []
    if genome.token_shift == "blend":
        yield "x'_t = x_t + mu (x_(t-1) - x_t), with a mu for each projection below"
    convolved = "".join(f", then {part}" for part in made_of)
    featured = "".join(f", then {part}" for part in features)
    if genome.input_gate == "complement":
        yield f"q: {source}{convolved}{featured}"
        yield f"f: {source}{convolved}"
    else:
        yield f"q, {key}: {source}{convolved}{featured}"
    yield f"v: {source}{convolved}{', then silu(.)' if made_of else ''}"
    if genome.update == "general_delta":
        yield "kappa, k: an L2 norm of xi p, and p (1 + eta (a_t - 1)), with learnt xi and eta"
        yield "a_t = sigmoid(W_4 W_3 x_t + b), one per channel of k"


def _decay(genome: Genome) -> Iterator[str]:
    x = "x'_t" if genome.token_shift == "blend" else "x_t"
    if genome.decay == "fixed":
        start = _STARTS.get(genome.decay_init)
        yield f"gamma = {start}" if start else "gamma = 1 - 2^(-5 - h) for head h"
    elif genome.input_gate == "complement":
        yield "alpha_t = bound + (1 - bound) sigmoid(f_t), with a learnt bound per channel"
    elif genome.input_gate == "step":
        yield "alpha_t = exp(-rate dt_t), with a learnt rate per head"
        yield f"dt_t = softplus(W_dt {x} + b), one per head"
    elif genome.decay != "none":
        inner = "tanh(W_1 {x})" if genome.decay_form == "exponential" else "W_1 {x}"
        logit = f"W_2 {inner.format(x=x)}" if genome.decay == "vector" else f"W_a {x}"
        logit += "" if genome.decay_form == "bounded" else " + b"
        each = f"one per {'head' if genome.decay == 'scalar' else 'channel of k'}"
        form = {
            "softplus": f"exp(-rate softplus({logit})), {each}, with a learnt rate per head",
            "sigmoid16": f"sigmoid({logit})^(1/16), {each}",
            "exponential": f"exp(-e^(-1/2) sigmoid({logit})), {each}",
            "bounded": f"bound + (1 - bound) sigmoid({logit}), {each}, as is the learnt bound",
        }[genome.decay_form]
        yield f"alpha_t = {form}"


def _strength(genome: Genome) -> Iterator[str]:
    if genome.update == "delta":
        x = "x'_t" if genome.token_shift == "blend" else "x_t"
        twice = "2 " if genome.beta_range == "double" else ""
        bias = "" if genome.beta_init == "plain" else " + b"
        letter, each = ("beta_t", "head")
        if genome.delta_steps != "one":
            letter, each = "beta_tj", "head and inner step"
        yield f"{letter} = {twice}sigmoid(W_b {x}{bias}), one per {each}"


def _output(genome: Genome) -> Iterator[str]:
    x = "x'_t" if genome.token_shift == "blend" else "x_t"
    low = "W_6 W_5" if genome.gate_rank == "low" else "W_g"
    gate = {
        "none": "",
        "sigmoid": f"sigmoid({low} {x})",
        "silu": f"silu({low} {x})",
        "linear": f"W_6 sigmoid(W_5 {x})",
    }[genome.output_gate]
    gate = f"2 {gate}" if genome.gate_init == "open" else gate
    o = f"o_t * {gate}" if genome.gate_place == "before" else "o_t"
    read = {
        "none": o,
        "sum": o,
        "rms": f"rms({o})",
        "rms_all": f"rms({o})",
        "group": f"groupnorm({o})",
    }[genome.output_norm]
    parts = [read]
    if genome.value_skip == "bonus":
        parts.append("(q_t . rho k_t) v_t")
    beside = genome.local_window != "none" and genome.layer_pattern == "same"
    if beside and genome.fusion == "sum":
        parts.append("w_t")
    joined = " + ".join(parts)
    if beside and genome.fusion == "gate":
        yield f"r_t = {joined}"
        yield "u_t = m_t r_t + (1 - m_t) w_t, where m_t = sigmoid(W_m x_t), one per head"
        joined, parts = "u_t", ["u_t"]
    if gate and genome.gate_place == "after":
        joined = f"({joined})" if len(parts) > 1 else joined
        joined = f"({joined} * {gate})"
    elif len(parts) > 1:
        joined = f"({joined})"
    over = ", the norm over all heads" if genome.output_norm == "rms_all" else ""
    yield f"y_t = W_o {joined}{over}"
    if beside:
        yield "w_t: what softmax attention reads of the last WINDOW tokens"
    if genome.gate_init == "open":
        weights = "W_6" if genome.gate_rank == "low" else "W_g"
        yield f"{weights} is 0 at first, so that the gate starts at one"
