"""What the abstract of a fetched paper claims, as insights in words of our own.

Covers plain claims in English: a clause that names a mechanism, a capability, and that one is
better, worse or the same with the other. Precise rather than complete: what is asked, hoped,
said of a rival or said both ways gives nothing. Does not cover the size of an effect, nor where
it holds. No word of the abstract gets into a statement.
"""

import re
from typing import Literal, NamedTuple

from noctuary.domain import Capability, Insight, Mechanism, Paper
from noctuary.literature.keywords import CAPABILITIES, ordered, parts_in, plain
from noctuary.space.mechanisms import MARK, phrase

STRENGTH = 0.2
"""Of every insight from an abstract: authors speak for their own designs, and words are guessed."""
CONDITIONS = "claimed in an abstract, read by rules"
LONGEST = 10_000
"""Characters of an abstract that are read."""

_WORDS: dict[Capability, str] = {
    "recall": "recall from the context",
    "state_tracking": "state tracking",
    "compression": "selection and compression of what was read",
    "language_modelling": "language modelling",
    "length_extrapolation": "extrapolation to longer inputs",
    "speed": "speed",
}
_VERDICTS = {1: "is better with", 0: "is about the same with", -1: "is worse with"}

_HEDGE = re.compile(
    r"\?|\b(?:whether|could|may|might|should|hypothes\w+|conjectur\w+|unclear|aims?|future work|"
    r"if|question|investigate|ask|study how)\b"
)
_CONTRAST = re.compile(
    r"[;:]|,? \b(?:but|whereas|while|although|though|however|yet|despite)\b,?"
    r"|,? and (?=(?:our|we|it|they|this|these)\b)"
    r"|,? (?=without (?:any )?(?:harm|hurt|sacrific|degrad|loss|impair))"
)
_OPENING = re.compile(r"^(?:while|although|though|whereas|unlike|despite|compared (?:to|with))\b")
_LOSS = r"(?:perplexit\w+|latency|loss|training time|error\w*)"
_BETTER = (
    r"improv\w+|outperform\w*|surpass\w*|\bbeats?\b|exceed\w*|enabl\w+|unlock\w*|boost\w*|enhanc\w+"
    r"|benefit\w*|\bhelp(?:s|ed|ful)?\b|\bgains?\b|\bsolv(?:e|es|ed|ing)\b|superior|\bbetter\b"
    r"|\bfaster\b|speeds? up|crucial|essential"
    rf"|(?:lower|reduc|decreas)\w* (?:the )?{_LOSS}|increas\w+ (?:the )?throughput"
)
_WORSE = (
    r"\bfail\w*|struggl\w+|degrad\w+|\bhurts?\b|\bharm\w*|impair\w*|\bworse\w*|underperform\w*"
    r"|\blags?\b|cannot|unable to|\bslower\b|insufficient|sacrific\w+"
    rf"|(?:increas|rais)\w* (?:the )?{_LOSS}"
)
_SAME = r"comparable|on par\b|\bmatch(?:es|ed|ing)?\b|similar (?:results|performance)"
_CUES: tuple[tuple[Literal[-1, 0, 1], re.Pattern[str]], ...] = (
    (1, re.compile(_BETTER)),
    (-1, re.compile(_WORSE)),
    (0, re.compile(_SAME)),
)
_COMPARES = re.compile(
    r"outperform|surpass|beat|exceed|superior|better|worse|underperform|lag|faster|slower|match"
    r"|on par|comparable"
)
"""Cues after which the other side of a comparison is named."""
_RIVAL = re.compile(r"\b(?:than|over|versus|vs|relative to|compared (?:to|with)|instead of)\b")
_NEGATED = re.compile(
    r"\b(?:not|never|hardly|neither|no|nor|without|n't)(?: (?:any|clear|significant|much|further|"
    r"consistently|really|the|to|be))*\W*$|n't\W*$"
)
_ABSENT = re.compile(
    r"\b(?:without|lack(?:s|ing)?|remov(?:e|es|ing)|absence of|dropp?(?:s|ing)|omit(?:s|ting)|no|"
    r"replac(?:e|es|ing))(?: (?:a|an|the|any|such|explicit))*\W*$"
)
_MEANS = re.compile(
    r"\b(?:by|with|using|via|through|from|thanks to|due to|because of|when|given)(?: (?:adding|"
    r"introducing|including|combining|a|an|the|our|its|of|such|simple|learned|additional))*\W*$"
)
_OTHER = re.compile(rf"(?:{_RIVAL.pattern}|\bunlike\b|\bthat of\b)(?: \w+)?\W*$")


class _Claim(NamedTuple):
    """What one clause says."""

    mechanisms: tuple[Mechanism, ...]
    capability: Capability
    direction: Literal[-1, 0, 1]


def insights_from_abstract(paper: Paper, abstract: str) -> tuple[Insight, ...]:
    """Return what an abstract plainly claims of parts of mixers, each claim once, in its order.

    Claims of one abstract that contradict each other cancel out.
    """
    sentences = re.split(r"(?<=[.!?])\s+", abstract[:LONGEST])
    clauses = [clause for sentence in sentences for clause in _clauses(plain(sentence))]
    claims = dict.fromkeys(claim for clause in clauses for claim in _claims(clause))
    said = [claim[:2] for claim in claims]
    return tuple(_insight(claim, paper) for claim in claims if said.count(claim[:2]) == 1)


def _insight(claim: _Claim, paper: Paper) -> Insight:
    parts = " and ".join(phrase(name) for name in claim.mechanisms)
    statement = f"{_WORDS[claim.capability]} {_VERDICTS[claim.direction]} {parts}."
    return Insight(
        statement=statement[0].upper() + statement[1:],
        mechanisms=claim.mechanisms,
        capability=claim.capability,
        direction=claim.direction,
        strength=STRENGTH,
        conditions=CONDITIONS,
        evidence=paper.paper_id,
    )


def _clauses(sentence: str) -> list[str]:
    """Return the parts of a sentence that each say one thing; none where it only asks or hopes."""
    if _HEDGE.search(sentence):
        return []
    if _OPENING.match(sentence):
        sentence = sentence.replace(",", ";", 1)
    return [clause for clause in _CONTRAST.split(sentence) if clause and clause.strip()]


def _claims(clause: str) -> list[_Claim]:
    cues = [(m, direction) for direction, rule in _CUES for m in rule.finditer(clause)]
    about = [name for name, rule in CAPABILITIES.items() if re.search(rule, clause)]
    if not cues or not about:
        return []
    directions = {0 if _NEGATED.search(clause[: m.start()]) else way for m, way in cues}
    if len(directions) != 1:
        return []
    direction = directions.pop()
    first = min((m for m, _ in cues), key=lambda m: m.start())
    present, absent = _credited(clause, first)
    if len({name.partition(MARK)[0] for name in present}) < len(set(present)):
        return []  # two values of one axis: a comparison that these rules cannot follow
    if present:
        return [_Claim(ordered(present), capability, direction) for capability in about]
    if absent and direction <= 0:  # worse without it: it helps
        return [_Claim(ordered(absent), c, 1 if direction else 0) for c in about]
    return []


def _credited(clause: str, cue: re.Match[str]) -> tuple[list[Mechanism], list[Mechanism]]:
    """Return the mechanisms that a cue is about: those that are there, and those left out."""
    rival = _RIVAL.search(clause, cue.end())
    said = clause[: rival.start()] if rival else clause
    present, absent = [], []
    for (start, _), name in parts_in(said).items():
        before = said[:start]
        if _ABSENT.search(before):
            absent.append(name)
        elif _OTHER.search(before):
            continue
        elif start < cue.start() or (_MEANS.search(before) and not _COMPARES.match(cue[0])):
            present.append(name)
    if "update=delta" in present or "update=general_delta" in present:
        present = [name for name in present if name != "update=additive"]
    return present, absent
