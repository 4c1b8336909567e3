"""Numbers of a trained mixer for people: its score on each task, and what it costs.

Covers `noctuary evaluate` and the page of the human baselines. Does not train.
"""

from collections import defaultdict
from statistics import fmean, median

from noctuary.evaluation import Evaluated, mean_metric


def task_scores(one: Evaluated) -> dict[str, float]:
    """Return task -> mean score over the seeds."""
    listed: defaultdict[str, list[float]] = defaultdict(list)
    for (task, _), score in sorted(one.scores.items()):
        listed[task].append(score)
    return {task: fmean(scores) for task, scores in listed.items()}


def costs(one: Evaluated | None) -> dict[str, str]:
    """Return column -> what a mixer costs, over its trials; the columns alone for None."""
    if one is None or not one.trials:
        return dict.fromkeys(("parameters", "state", "kFLOP/token", "tokens/s", "peak MB"), "-")
    speeds = [t.tokens / t.seconds["train"] for t in one.trials if t.seconds.get("train")]
    memory = [t.peak_memory_mb for t in one.trials if t.peak_memory_mb is not None]
    state, flops = mean_metric(one.trials, "state_size"), mean_metric(one.trials, "flops_per_token")
    return {
        "parameters": f"{one.audit.parameters:,}",
        "state": "-" if state is None else f"{state:,.0f}",
        "kFLOP/token": "-" if flops is None else f"{flops / 1000:,.0f}",
        "tokens/s": f"{median(speeds):,.0f}" if speeds else "-",
        "peak MB": f"{max(memory):,.0f}" if memory else "-",
    }
