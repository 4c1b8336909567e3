"""What a person is asked before, and what they said: the questions, and the answers on disk.

An answer lies beside the records of the cycles, under the id of its cycle or claim, so that a
crash, a retry and a rerun do not ask again. Covers words and files. How a person is asked is for
the flows.
"""

from collections.abc import Sequence
from pathlib import Path

from noctuary.domain import Candidate, Claim, Value
from noctuary.lab import Lab, explaining_disk_errors, read_json, write_atomically
from noctuary.night import CycleRun
from noctuary.plan import rung_seeds, suite_of
from noctuary.policy import Consent
from noctuary.words import counted


class Question(Value):
    """What a person is asked.

    Attributes:
        cycle_id: of the cycle; before a discovery, of the claim.
        before: the point at which the policy wants a consent.
        about: candidate ids; an answer counts for just these.
        text: what will be done, and at what cost.
    """

    cycle_id: str
    before: Consent
    about: tuple[str, ...]
    text: str


class Answer(Value):
    """What they said.

    Attributes:
        note: who it was, and why, in their words.
    """

    question: Question
    approved: bool
    note: str = ""


def cycle_question(run: CycleRun) -> Question:
    """Return the question before a cycle."""
    search, most = run.settings.search, trials_a_candidate(run)
    designs = counted(search.designs, "new design")
    return Question(
        cycle_id=run.cycle.cycle_id,
        before="cycle",
        about=(),
        text=(
            f"Run cycle {run.cycle.number}: {designs} of {counted(most, 'trial')} each at most, "
            f"{search.designs * most} in all, and what the human baselines still lack?"
        ),
    )


def promotion_question(
    run: CycleRun, designs: Sequence[Candidate], rung: int, trials: int
) -> Question:
    """Return the question before designs train on the last rung.

    Args:
        trials: how many they take there.
    """
    names = ", ".join(design.name for design in designs)
    return Question(
        cycle_id=run.cycle.cycle_id,
        before="promotion",
        about=tuple(design.candidate_id for design in designs),
        text=(
            f"Promote {counted(len(designs), 'design')} of cycle {run.cycle.number} to rung "
            f"{rung}, the last one, for {counted(trials, 'trial')}: {names}?"
        ),
    )


def discovery_question(claim: Claim, folder: Path) -> Question:
    """Return the question before a verified design is put among the architectures.

    Args:
        folder: where its file would go.
    """
    plan = claim.plan
    reason = claim.verdict.reason if claim.verdict is not None else "not decided"
    return Question(
        cycle_id=claim.claim_id,
        before="discovery",
        about=(plan.candidate.candidate_id,),
        text=(
            f"Promote {plan.candidate.name} to {folder}, with claim {plan.number} as its proof? "
            f"{claim.status}: {reason}."
        ),
    )


def trials_a_candidate(run: CycleRun) -> int:
    """Return how many trials a candidate takes that gets to the last rung."""
    training = run.settings.training
    suite = suite_of(training)
    attempts = [
        len(rung_seeds(suite, rung, training.seeds))
        * (len(suite.learning_rates) if rung == 0 else 1)
        for rung in range(len(suite.rungs))
    ]
    return sum(attempts) * len(suite.tasks)


def answer_to(lab: Lab, question: Question) -> Answer | None:
    """Return what was said to this question, if it was answered before."""
    path = answer_path(lab, question.cycle_id, question.before)
    if not path.exists():
        return None
    answer = Answer.model_validate(read_json(path))
    return answer if answer.question.about == question.about else None


def keep(lab: Lab, answer: Answer) -> None:
    """Keep an answer with its cycle or claim."""
    path = answer_path(lab, answer.question.cycle_id, answer.question.before)
    with explaining_disk_errors(lab.cycles):
        lab.cycles.mkdir(exist_ok=True)
        write_atomically(path, answer.model_dump_json(indent=1) + "\n")


def answers_of(lab: Lab, cycle_id: str) -> tuple[Answer, ...]:
    """Return what was said about a cycle, or about a claim."""
    points: tuple[Consent, ...] = ("cycle", "promotion", "discovery")
    paths = [answer_path(lab, cycle_id, before) for before in points]
    return tuple(Answer.model_validate(read_json(path)) for path in paths if path.exists())


def answer_path(lab: Lab, cycle_id: str, before: Consent) -> Path:
    """Return where the answer to a question is kept."""
    return lab.cycles / f"{cycle_id}.{before}.json"
