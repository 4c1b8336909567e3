"""Which mechanisms a paper is about, guessed from words in its title and abstract.

Covers plain phrases of the field, in English. A guess from words: it serves to count papers near
a gap, never as evidence for an effect. Only papers of the shipped snapshot carry insights.
"""

import re

from noctuary.domain import Mechanism

_RULES: dict[Mechanism, str] = {
    "feature_map=elu": r"\belu\b",
    "feature_map=relu": r"\brelu\b(?=.{0,60}\b(kernel|feature map|linear attention))",
    "feature_map=silu": r"\b(silu|swish)\b(?=.{0,60}\b(kernel|feature map|quer|key))",
    "feature_map=softmax": r"softmax (feature map|mimic)|mimic\w* softmax|\bhedgehog\b",
    "decay=fixed": r"\bretnet\b|retentive|(fixed|exponential|data-independent) decay",
    "decay=scalar": r"\bmamba-?2\b|state space dualit|gated (deltanet|delta (net|rule))|scalar gat",
    "decay=vector": r"gated linear attention|\bhgrn|(channel|element)-?wise (gat|decay|forget)"
    r"|fine-grained gat|kimi (linear|delta)|\brwkv-?[67]\b|vector-valued gat",
    "update=additive": r"linear (attention|transformer)s?\b",
    "update=delta": r"\bdelta ?(rule|net|product)|fast weight program|householder",
    "beta_range=double": r"negative eigenvalue",
    "short_conv=conv4": r"short conv|canon layer|depthwise conv|causal conv",
    "qk_norm=l2": r"\bqk-?(norm|layernorm)|(query-key|key|l2) normali[sz]",
    "output_gate=sigmoid": r"sigmoid (output )?gat",
    "output_gate=silu": r"(silu|swish) (output )?gat",
    "output_norm=rms": r"\brms ?norm|root mean square (layer )?norm",
}
_COMPILED = {name: re.compile(rule, re.IGNORECASE | re.DOTALL) for name, rule in _RULES.items()}


def mechanisms_in(text: str) -> tuple[Mechanism, ...]:
    """Return the mechanisms that the text names, in the order of the axes."""
    found = [name for name, rule in _COMPILED.items() if rule.search(text)]
    if "update=delta" in found:  # the delta rule is told in terms of linear attention
        found = [name for name in found if name != "update=additive"]
    return tuple(found)
