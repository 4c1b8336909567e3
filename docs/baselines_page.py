"""The page of the human baselines, from their trials: tables, sensitivity, and what was published.

Covers the text of `docs/baselines.md`. Trains nothing (`make_baselines.py`).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from statistics import fmean, median

from published_orderings import ORDERINGS, Outcome, outcome

from noctuary.aggregate import aggregate, ranking, sensitivity
from noctuary.bench.suite import Suite
from noctuary.campaigns import fewest_seeds
from noctuary.candidates import REFERENCE
from noctuary.domain import Trial
from noctuary.evaluation import Evaluated
from noctuary.report.panel import costs, task_scores
from noctuary.space.tuned import TUNED
from noctuary.stats import paired_interval

CEILING = 0.95
"""A score above this leaves no room to be better."""

Scores = Mapping[str, Mapping[str, float]]


def page(
    suite: Suite, everyone: Sequence[Evaluated], seeds: int, without: Collection[str], made: str
) -> str:
    """Return the page; mixers that failed on a task are named and left out of the tables.

    Args:
        without: tasks of the suite that nobody was trained on.
    """
    tasks = [task.name for task in suite.tasks if task.name not in without]
    held_out = [task.name for task in suite.held_out if task.name not in without]
    wanted = seeds * (len(tasks) + len(held_out))
    complete = [one for one in everyone if not one.failed and len(one.scores) == wanted]
    scores = {one.candidate.name: task_scores(one) for one in complete}
    search = {name: {t: found[t] for t in tasks} for name, found in scores.items()}
    order = ranking({name: aggregate(found) for name, found in search.items()})
    by_name = {one.candidate.name: one for one in complete}
    ranked = [by_name[name] for name in order]
    parts = [
        "# The human baselines",
        _introduction(suite, len(complete), len(tasks) + len(held_out), seeds),
        f"Made by {made}.",
        f"Left out, to save the time: {', '.join(without)}." if without else "",
        _failures(everyone, complete),
        "## Scores on the tasks of the search",
        f"Mean over {seeds} seeds, with half the width of its 95 % Student-t interval. `all` is "
        "the mean over the tasks, its interval over the seeds.",
        _score_table(ranked, tasks, with_all=True),
        _ceiling(ranked, tasks),
        "## Scores on the held-out tasks",
        "No cycle of the search trains on these.",
        _score_table(ranked, held_out, with_all=False),
        "## What was reached",
        "Accuracy on the test sequences, mean over the seeds.",
        _metric_table(ranked, [*tasks, *held_out], "accuracy"),
        "## How fast it was learnt",
        f"Median optimiser step (of {suite.rungs[suite.top].steps}) at which the running mean of "
        f"the training loss first fell below {suite.solved_share:.0%} of chance level; in "
        "brackets, how many of the seeds got there. Kept apart from what was reached: short "
        "training rewards the fast.",
        _steps_table(ranked, [*tasks, *held_out]),
        "## What they cost",
        "Parameters without embedding and head; floats of recurrent state over both layers for "
        "one sequence (of softmax attention: its cache at the longest training length); FLOP of "
        "training a token, forward and backward, of matrix products and convolutions; the largest "
        "peak memory of a trial. How fast they are, side by side, is in "
        "[bench/results.md](../bench/results.md).",
        _cost_table(ranked),
        "## How much hangs on the aggregate",
        "The ranking by `all`, held against other choices: Kendall's tau between the rankings, "
        "and the first three. `loss`, `accuracy` and `learning` are the parts of the score.",
        _sensitivity_table(search, _parts(suite, ranked, tasks)),
        "## The orderings that were published",
        _orderings(suite, by_name, seeds),
        "## The forms in the panel",
        "Some are published mixers in the form that suits this scale, since a rival that was "
        "never tuned is no rival:",
        "\n".join(
            f"- `{form.name}`: {form.published} {form.change}"
            for form in TUNED
            if form.name in by_name
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _introduction(suite: Suite, mixers: int, tasks: int, seeds: int) -> str:
    shape, rung, first = suite.shape, suite.rungs[suite.top], suite.rungs[0]
    rates = ", ".join(f"{rate:g}" for rate in sorted(suite.learning_rates))
    return (
        f"{mixers} mixers that people designed, each on {tasks} tasks with {seeds} seeds: the bar "
        f"that a new design has to pass. All have {shape.parameter_budget:,} parameters within "
        f"{shape.tolerance:.0%} (d={shape.d_model}, {shape.n_layers} layers, {shape.n_heads} "
        "heads, the feed-forward width is solved for), see the same tokens in the same order "
        f"({rung.steps} steps of {rung.tokens_per_step}), and choose for each task from the same "
        f"learning rates ({rates}) after {first.steps} steps with a seed of their own. A task's "
        "score is the mean of three parts, each between chance (0) and perfect (1): the share of "
        "the chance-level loss removed on the test sequences, the accuracy, and the share of the "
        "loss removed over the whole training."
    )


def _failures(everyone: Sequence[Evaluated], complete: Sequence[Evaluated]) -> str:
    missing = [one for one in everyone if one not in complete]
    return "\n".join(f"- `{one.candidate.name}` is left out: {one.failed}" for one in missing)


def _score_table(ranked: Sequence[Evaluated], tasks: Sequence[str], *, with_all: bool) -> str:
    rows = []
    for one in ranked:
        cells = [_with_interval(_over_seeds(one, [task])) for task in tasks]
        if with_all:
            cells.insert(0, _with_interval(_over_seeds(one, tasks)))
        rows.append([_name(one), *cells])
    return _table(["mixer", *(["all"] if with_all else []), *tasks], rows)


def _ceiling(ranked: Sequence[Evaluated], tasks: Sequence[str]) -> str:
    """Say where a task no longer tells the best from the perfect."""
    found = [
        f"{task} ({', '.join(_name(one) for one in ranked if task_scores(one)[task] > CEILING)})"
        for task in tasks
        if any(task_scores(one)[task] > CEILING for one in ranked)
    ]
    return f"At the ceiling, above {CEILING:g}: {'; '.join(found)}." if found else ""


def _over_seeds(one: Evaluated, tasks: Sequence[str]) -> list[float]:
    seeds = sorted({seed for _, seed in one.scores})
    return [fmean(one.scores[task, seed] for task in tasks) for seed in seeds]


def _with_interval(values: Sequence[float]) -> str:
    found = paired_interval(values)
    half = "" if found.high is None else f" ± {found.high - found.effect:.3f}"
    return f"{found.effect:.3f}{half}"


def _metric_table(ranked: Sequence[Evaluated], tasks: Sequence[str], metric: str) -> str:
    rows = [
        [_name(one), *(f"{fmean(t.metrics[metric] for t in _of(one, task)):.3f}" for task in tasks)]
        for one in ranked
    ]
    return _table(["mixer", *tasks], rows)


def _steps_table(ranked: Sequence[Evaluated], tasks: Sequence[str]) -> str:
    def cell(one: Evaluated, task: str) -> str:
        trials = _of(one, task)
        solved = [t.metrics["steps_to_solve"] for t in trials if "steps_to_solve" in t.metrics]
        return f"{median(solved):.0f} ({len(solved)}/{len(trials)})" if solved else "-"

    solvable = [task for task in tasks if any(cell(one, task) != "-" for one in ranked)]
    rows = [[_name(one), *(cell(one, task) for task in solvable)] for one in ranked]
    never = [task for task in tasks if task not in solvable]
    note = f"\n\nNobody got there on {', '.join(never)}." if never else ""
    return _table(["mixer", *solvable], rows) + note


def _of(one: Evaluated, task: str) -> list[Trial]:
    return [trial for trial in one.trials if trial.spec.task == task]


def _cost_table(ranked: Sequence[Evaluated]) -> str:
    heads = [head for head in costs(None) if head != "tokens/s"]  # the machine was not idle
    rows = [[_name(one), *(costs(one)[head] for head in heads)] for one in ranked]
    return _table(["mixer", *heads], rows)


def _parts(
    suite: Suite, ranked: Sequence[Evaluated], tasks: Sequence[str]
) -> dict[str, dict[str, dict[str, float]]]:
    """Return part -> mixer -> task -> that part of the score, on the scale of the score."""
    loss: dict[str, dict[str, float]] = {}
    accuracy: dict[str, dict[str, float]] = {}
    learning: dict[str, dict[str, float]] = {}
    for one in ranked:
        name = one.candidate.name
        loss[name], accuracy[name], learning[name] = {}, {}, {}
        for task in tasks:
            chance, trials = suite.task(task), _of(one, task)
            removed = fmean(1 - t.metrics["loss"] / chance.chance_loss for t in trials)
            above = fmean(t.metrics["accuracy"] for t in trials) - chance.chance_accuracy
            loss[name][task] = max(0.0, removed)
            accuracy[name][task] = max(0.0, above / (1 - chance.chance_accuracy))
            learning[name][task] = fmean(t.metrics["learning"] for t in trials)
    return {"loss": loss, "accuracy": accuracy, "learning": learning}


def _sensitivity_table(scores: Scores, parts: Mapping[str, Scores]) -> str:
    reference = ranking({name: aggregate(found) for name, found in scores.items()})[:3]
    rows = [["mean over the tasks (`all`)", "1.00", ", ".join(reference)]]
    rows += [
        [one.name, f"{one.agreement:.2f}", ", ".join(one.best)]
        for one in sensitivity(scores, parts)
    ]
    return _table(["aggregate", "tau", "first three"], rows)


def _orderings(suite: Suite, by_name: Mapping[str, Evaluated], seeds: int) -> str:
    found = [outcome(one, by_name) for one in ORDERINGS]
    known = [one for one in found if one is not None]
    rows = [
        [
            one.ordering.claim,
            f"{one.ordering.better} > {one.ordering.worse}",
            ", ".join(one.ordering.tasks),
            f"{one.effect:+.3f}",
            f"{one.low:+.3f} to {one.high:+.3f}",
            f"{one.seeds_for_it}/{len(one.differences)}",
            one.words,
        ]
        for one in known
    ]
    lines = [
        "Written down before the trials were run. The difference is in score, paired by seed, "
        "averaged over the tasks named; the interval is Student's t at 95 %, corrected for the "
        f"{len(ORDERINGS)} orderings (Bonferroni); `seeds` counts those with the published sign. "
        f"It takes {fewest_seeds(len(ORDERINGS))} seeds for the "
        f"exact test that a claim needs; with {seeds} these are checks of the bench, not claims.",
        _table(
            ["what was published", "here", "tasks", "difference", "interval", "seeds", "outcome"],
            rows,
        ),
        *_explained(known),
    ]
    return "\n\n".join(lines)


def _explained(outcomes: Sequence[Outcome]) -> Iterator[str]:
    failing = [one for one in outcomes if one.words != "comes out"]
    if failing:
        yield "Those whose interval does not say so, and why:"
        yield "\n".join(
            f"- {one.ordering.claim} ({one.words}): {one.ordering.reading or 'not looked into'}"
            for one in failing
        )


def _name(one: Evaluated) -> str:
    return one.candidate.name + (" (reference)" if one.candidate.name == REFERENCE else "")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
