"""Which mechanisms and capabilities a text is about, guessed from words of the field.

Covers plain phrases in English: parts of a mixer by their names (`PARTS`), and well-known models
by theirs. A guess from words: it serves to count papers near a gap, and `abstracts` builds on the
parts. Does not cover what a text says of them.
"""

import re
import unicodedata
from collections.abc import Iterable

from noctuary.domain import Capability, Mechanism

_GATE = r"(?:forget(?:ting)? gat\w+|gating|gates?|decays?|forgetting)"
_STEPS = r"(?:householder|delta|gradient)\w* (?:steps|updates|reflections)"

PARTS: dict[Mechanism, str] = {
    "update=additive": r"linear (?:attention|transformer)s?|additive (?:writes?|updates?)",
    "update=delta": r"delta ?rule|fast weight program\w*",
    "update=general_delta": r"generali[sz]ed delta rule",
    "delta_steps=two": rf"(?:several|multiple|two|more) {_STEPS}"
    r"|products? of (?:generali[sz]ed )?householder",
    "beta_range=double": r"negative eigenvalues?",
    "input_gate=step": r"(?:input|data)-dependent step sizes?|selective discreti[sz]ation",
    "input_gate=complement": r"(?:coupled|tied) (?:input and )?forget gates?"
    r"|complement of the forget gate|one minus the forget gate",
    "decay=fixed": r"(?:fixed|constant|(?:data|input)-independent|exponential) decays?",
    "decay=scalar": rf"(?:scalar|scalar-valued|head-?wise|per-head) {_GATE}|gated (?=delta rule)",
    "decay=vector": r"(?:(?:channel|element)-?wise|fine-grained|vector-valued|per-channel) "
    rf"{_GATE}",
    "decay_form=bounded": rf"lower[- ]bound(?:s|ed)? (?:on |for |of )?(?:the )?{_GATE}"
    rf"|{_GATE} (?:that are )?(?:with lower bounds|bounded from below)",
    "decay_init=spread": r"hippo[- ](?:based )?initiali[sz]\w+|log-uniform initiali[sz]\w+",
    "decay_init=slow": r"mimetic initiali[sz]\w+"
    r"|(?:decays?|gates?) initiali[sz]ed (?:near|close to) one",
    "decay_init=random": r"random(?:ly)? initiali[sz]ed (?:transitions?|decays?|state matri\w+)",
    "feature_map=elu": r"elu ?\+ ?1|\belu (?:feature map|kernel)s?",
    "feature_map=relu": r"\brelu (?:feature maps?|kernels?|features)",
    "feature_map=silu": r"(?:silu|swish) (?:feature maps?|kernels?|features)",
    "feature_map=softmax": r"softmax (?:feature maps?|mimicry)|exponential feature maps?",
    "feature_map=taylor": r"(?:taylor|polynomial|quadratic) "
    r"(?:feature maps?|features|kernels?|expansions?|approximations?)",
    "qk_norm=l2": r"\bqk[- ]?(?:norm\w*|layernorm)"
    r"|(?:query-key|key|l2|quer(?:y|ies) and keys?) normali[sz]ation"
    r"|normali[sz]ed quer(?:y|ies) and keys?|l2-normali[sz]ed keys?",
    "position=none": r"\bnope\b|(?:no|without) (?:any |explicit )?position(?:al)? "
    r"(?:encoding|embedding)s?",
    "position=rotary": r"\brope\b|rotary (?:position\w* )?(?:encoding|embedding|position)\w*",
    "short_conv=conv4": r"(?:short|local|causal|depthwise|narrow)(?:,? (?:causal|depthwise|1d))* "
    r"convolutions?|canon layers?|short conv\b",
    "short_conv=multi_scale": r"multi-?scale (?:causal )?(?:convolution|filter|kernel|fir)\w*"
    r"|(?:convolutions?|filters) (?:at|of) (?:several|multiple|different) (?:scale|length|size)s",
    "token_shift=blend": r"token[- ]?shift\w*",
    "output_norm=rms": r"\brms ?norm\w*|root mean square (?:layer )?norm\w*",
    "output_norm=group": r"group ?norm(?:ali[sz]ation)?",
    "output_gate=sigmoid": r"sigmoid (?:output )?gat\w+",
    "output_gate=silu": r"(?:silu|swish) (?:output )?gat\w+",
    "gate_rank=low": r"low-rank (?:output )?gat\w+",
    "gate_init=open": r"gates? initiali[sz]ed (?:to|near|close to|as) (?:the )?identity"
    r"|identity-initiali[sz]ed gates?",
    "local_window=window32": r"sliding[- ]window(?:s| attention)?|local (?:window\w*|attention)"
    r"|windowed attention",
    "fusion=gate": r"(?:learned|learnable) gat\w+ (?:between|that (?:combines|mixes|fuses))"
    r"|gated fusion",
    "layer_pattern=alternate": r"interleav\w+ (?:of )?(?:attention|recurren\w+|mamba|layers)"
    r"|alternating (?:layers|attention|recurren\w+)",
}
"""Mechanism -> how a text names it. Where two patterns fit the same words, the longer one counts:
a generalised delta rule is no plain one."""

_MODELS: dict[Mechanism, str] = {
    "update=additive": r"\bmamba-?2\b|retentive|\bretnet\b|\bgla\b|\bhgrn"
    r"|\blightning attention",
    "update=delta": r"\bdelta ?net|delta ?product|householder|kimi (?:linear|delta)",
    "update=general_delta": r"\brwkv-?7\b",
    "beta_range=double": r"\bdelta ?product",
    "decay=fixed": r"\bretnet\b|retentive|\blightning attention",
    "decay=scalar": r"\bmamba-?2\b|state space dualit\w+|gated (?:deltanet|delta net)|\bmlstm\b",
    "decay=vector": r"gated linear attention|\bgla\b|\bhgrn|kimi (?:linear|delta)|\brwkv-?[67]\b",
    "feature_map=softmax": r"\bhedgehog\b",
    "feature_map=taylor": r"\bbased\b (?:architecture|model)",
    "input_gate=step": r"\bmamba-?2\b",
    "input_gate=complement": r"\bhgrn-?2\b",
    "token_shift=blend": r"\brwkv",
}

CAPABILITIES: dict[Capability, str] = {
    "recall": r"associative (?:recall|memory)|\bin-context (?:recall|retrieval)|\brecall\b"
    r"|\bretriev\w+|needle|\bmqar\b|phone ?book|(?<!selective )\bcopying\b",
    "state_tracking": r"state[- ]tracking|\bparity\b|permutation (?:group|composition)\w*"
    r"|word problems?|regular languages?|finite automat\w+|modular (?:arithmetic|counting)",
    "compression": r"selective copying"
    r"|compress\w* (?:of )?(?:the )?(?:context|history|past|inputs?)",
    "language_modelling": r"language model(?:l)?ing|perplexit\w+|bits per (?:byte|character)",
    "length_extrapolation": r"(?:length|context) (?:extrapolation|generali[sz]ation)|extrapolat\w+"
    r"|(?:longer|unseen) (?:sequence |context )?(?:sequences|inputs|contexts|lengths) than",
    "speed": r"throughput|latency|wall[- ]clock|(?:training|inference|decoding) (?:time|speed)",
}
"""Capability -> how a text names it."""


def _compiled(rules: dict[str, str]) -> dict[str, re.Pattern[str]]:
    return {name: re.compile(rule) for name, rule in rules.items()}


_PARTS = _compiled(PARTS)
_NAMES = [*_PARTS.items(), *_compiled(_MODELS).items()]
_ORDER = {name: place for place, name in enumerate(PARTS)}


def plain(text: str) -> str:
    """Return the text in lower case, with one kind of space, dash and quote."""
    unified = unicodedata.normalize("NFKC", text).casefold()
    unified = re.sub("[\u2010-\u2015\u2212]", "-", unified)
    return " ".join(re.sub("[\u2018\u2019]", "'", unified).split())


def mechanisms_in(text: str) -> tuple[Mechanism, ...]:
    """Return the mechanisms that the text names, in the order of the axes."""
    words = plain(text)
    found = {name for name, rule in _NAMES if rule.search(words)}
    if found & {"update=delta", "update=general_delta"}:  # both are told as linear attention
        found.discard("update=additive")
    return ordered(found)


def ordered(mechanisms: Iterable[Mechanism]) -> tuple[Mechanism, ...]:
    """Return mechanisms of `PARTS`, each once, in the order of the axes."""
    return tuple(sorted(set(mechanisms), key=_ORDER.__getitem__))


def parts_in(words: str) -> dict[tuple[int, int], Mechanism]:
    """Return where plain words name a part of a mixer; of names that overlap the longest one."""
    spans = [
        (rule.start(), rule.end(), name)
        for name, one in _PARTS.items()
        for rule in one.finditer(words)
    ]
    kept: dict[tuple[int, int], Mechanism] = {}
    for start, end, name in sorted(spans, key=lambda span: (span[0] - span[1], span[0])):
        if all(end <= other[0] or other[1] <= start for other in kept):
            kept[start, end] = name
    return kept
