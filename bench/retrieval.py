"""How fast insights are found among 100,000, and how often the right ones: `python` this file.

Speed: an archive of insights that are recombined from the shipped ones, from one seed;
`--archive FILE` keeps it for the next time. The questions of `questions.json`, embedded by the
real model, are asked over one open connection, each once to warm it and then in turns.
What comes before a search is measured beside it: reading the model, embedding the question, and
a search that opens the archive first, as every command does. A search runs on one thread and waits
for nothing, so its CPU time is its wall time on a machine that does nothing else.

With `--questions` instead: the share of questions with a right answer among the first one and the
first five, over the shipped insights; by words, by meaning, and by both. The mix of both was
chosen on the half `dev`.

Covers no recording. Exit status 1: the searches take longer than the goal, or recall is below it.
"""

import argparse
import json
import math
import multiprocessing
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

import measuring
import numpy as np
from numpy.typing import NDArray

from noctuary.archive import Archive
from noctuary.archive.connection import opened
from noctuary.archive.retrieval import parameters
from noctuary.domain import Insight
from noctuary.embedding import Encoder, MiniLM, sentence_encoder
from noctuary.lab import shipped
from noctuary.literature.snapshot import read_snapshot

QUESTIONS = Path(__file__).with_name("questions.json")
GOAL_MS, GOAL_MB, GOAL_RECALL = 50.0, 1000.0, 0.9
LIMIT = 10
AMONG = (1, 5)
EMBEDDING, EXACT = "embedding a question", "comparing all vectors exactly"
EXACTLY = """
SELECT insight_id FROM insight_embeddings JOIN insight_index USING (number)
ORDER BY array_inner_product(vector, $vector::FLOAT[384]) DESC, insight_id LIMIT $limit
"""
BATCH = 10_000
Question = dict[str, Any]


def questions() -> list[Question]:
    found: list[Question] = json.loads(QUESTIONS.read_text(encoding="utf-8"))["questions"]
    return found


class Recombined:
    """Insights that read like the given ones, and their embeddings: an encoder of their texts.

    A statement is the beginning of one and the end of another; mechanisms, capability and paper
    are those of a third. Its vector is the sum of those of the two statements and of a random one,
    each of length one: embedding 100,000 texts for a measure of time would take half an hour.
    """

    def __init__(self, insights: Sequence[Insight], real: Encoder, seed: int) -> None:
        self.model = real.model
        self._insights = insights
        self._random, self._noise = random.Random(seed), np.random.default_rng(seed)
        self._vectors = real.encode([insight.statement for insight in insights])
        self._parts: dict[str, tuple[int, int]] = {}

    def insights(self, number: int) -> Iterator[Insight]:
        """Yield so many insights, each with a statement of its own."""
        while number > len(self._parts):
            pair = self._random.choices(range(len(self._insights)), k=2)
            begin, end = (self._insights[one].statement.rstrip(".").split() for one in pair)
            kept = begin[: self._random.randint(len(begin) // 2, len(begin))]
            kept += end[self._random.randint(0, len(end) // 2) :]
            statement = " ".join(kept).replace(". ", ", ")  # so that `encode` finds its end
            if statement not in self._parts:
                self._parts[statement] = (pair[0], pair[1])
                about = self._random.choice(self._insights)
                yield about.model_copy(update={"statement": statement})

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        parts = np.array([self._parts[text.partition(". ")[0]] for text in texts])
        noise = self._noise.normal(size=(len(texts), self._vectors.shape[1]))
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
        vectors = self._vectors[parts].sum(axis=1) + noise
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors.astype(np.float32)


def build(path: Path, number: int, seed: int) -> None:
    """Make an archive of so many insights with their embeddings."""
    archive = Archive(path)
    papers, insights = read_snapshot(shipped("data/snapshot") / "papers.json")
    encoder = Recombined(insights, MiniLM(), seed)
    archive.record_papers(papers)
    made = encoder.insights(number)
    while batch := list(islice(made, BATCH)):
        archive.record_insights(batch)
    archive.embed_insights(encoder)


def ways(query: str, encoder: Encoder | None, clock: measuring.Clock) -> dict[str, dict[str, Any]]:
    """Return way of searching -> its parameters of `queries/retrieve.sql`."""
    found = {"words": parameters(query, (), None, LIMIT, None)}
    if encoder is not None:
        both = clock.time(EMBEDDING, lambda: parameters(query, (), None, LIMIT, encoder))
        found["both"] = both
        found["both, of one mechanism"] = {**both, "mechanisms": ["update=delta"]}
        found["meaning"] = {**both, "mix": 1.0, "words": []}
    return found


def measure_speed(path: Path, repeats: int) -> dict[str, Any]:
    """Return milliseconds by what was done, agreement with exact search, and memory in MB."""
    clock, archive = measuring.Clock(), Archive(path)
    encoder = clock.time("reading the model", sentence_encoder)
    ways("a first sentence", encoder, clock)
    if encoder is not None:
        clock.forget(EMBEDDING)  # the first one also sets up torch
    asked = [ways(question["question"], encoder, clock) for question in questions()]
    for by_way in asked[:5]:
        best = by_way["both" if encoder else "words"]
        clock.time("search, opening the archive", lambda p=best: archive.query("retrieve", **p))
    sql = (resources.files("noctuary.archive") / "queries" / "retrieve.sql").read_text()
    shares = []
    with opened(path, read_only=True, patience=30, sleep=time.sleep, told=print) as connection:

        def rows(name: str, text: str, values: dict[str, Any]) -> list[Any]:
            found: list[Any] = clock.time(name, lambda: connection.execute(text, values).fetchall())
            return found

        for by_way in asked:
            for values in by_way.values():
                rows("warming", sql, values)
        for _ in range(repeats):
            for by_way in asked:
                for way, values in by_way.items():
                    rows(f"search by {way}", sql, values)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        for values in [by_way["meaning"] for by_way in asked if "meaning" in by_way]:
            exact = rows(EXACT, EXACTLY, {"vector": values["vector"], "limit": LIMIT})
            found = {row[3] for row in connection.execute(sql, values).fetchall()}
            shares.append(sum(row[0] in found for row in exact) / LIMIT)
    clock.forget("warming")
    agreement = statistics.mean(shares) if shares else None
    wall, cpu = (
        {name: [1000 * one for one in seconds] for name, seconds in times.items()}
        for times in (clock.wall, clock.cpu)
    )
    return {"wall": wall, "cpu": cpu, "agreement": agreement, "memory_mb": memory}


def speed_table(result: dict[str, Any]) -> str:
    body = []
    for name, wall in result["wall"].items():
        cpu = statistics.median(result["cpu"][name])
        verdict = ("yes" if cpu < GOAL_MS else "NO") if name.startswith("search by") else "-"
        body.append([name, _spread(wall), _spread(result["cpu"][name]), str(len(wall)), verdict])
    head = ["what", "wall", "CPU", "times", f"under {GOAL_MS:g} ms of CPU"]
    notes = f"At most {result['memory_mb']:.0f} MB (goal: under {GOAL_MB:.0f})."
    if result["agreement"] is None:
        notes += " Without meaning: the extra `embeddings` is not installed."
    else:
        notes += f" Of the {LIMIT} nearest by meaning, the signs find {result['agreement']:.1%}."
    return f"{notes}\n\n{measuring.markdown(head, body)}"


def _spread(times: Sequence[float]) -> str:
    within = sorted(times)[math.ceil(0.95 * len(times)) - 1]
    return f"{statistics.median(times):.1f} ms (95 % within {within:.1f})"


def measure_recall() -> list[dict[str, Any]]:
    """Return for each way and part of the questions how many have an answer among the first."""
    hits: dict[tuple[str, str], list[int | None]] = {}
    with tempfile.TemporaryDirectory() as folder:
        archive = Archive(Path(folder) / "noctuary.duckdb")
        papers, insights = read_snapshot(shipped("data/snapshot") / "papers.json")
        archive.record_papers(papers)
        archive.record_insights(insights)
        encoder = sentence_encoder()
        if encoder is not None:
            archive.embed_insights(encoder)
        for question in questions():
            narrowed = {"mechanisms": question.get("mechanisms"), "limit": max(AMONG)}
            for way, values in ways(question["question"], encoder, measuring.Clock()).items():
                if way == "both, of one mechanism":
                    continue
                found = archive.query("retrieve", **{**values, **narrowed})
                places = [
                    n for n, row in enumerate(found) if row["statement"] in question["answers"]
                ]
                for part in (question["split"], "all"):
                    hits.setdefault((way, part), []).append(min(places, default=None))
    return [
        {
            "way": way,
            "questions": part,
            "number": len(places),
            **{
                f"at_{k}": sum(p is not None and p < k for p in places) / len(places) for k in AMONG
            },
        }
        for (way, part), places in sorted(hits.items())
    ]


def recall_table(rows: Sequence[dict[str, Any]]) -> str:
    head = ["search by", "questions", "number", *(f"recall@{k}" for k in AMONG)]
    return measuring.markdown(
        head,
        [
            [
                row["way"],
                row["questions"],
                str(row["number"]),
                *(f"{row[f'at_{k}']:.3f}" for k in AMONG),
            ]
            for row in rows
        ],
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--questions", action="store_true", help="measure recall, not speed")
    parser.add_argument("--archive", type=Path, help="made if it is missing, and kept")
    parser.add_argument("--insights", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="append to bench/results.md")
    asked = parser.parse_args()

    about = measuring.facts()
    if asked.questions:
        rows = measure_recall()
        title = "Retrieval of the shipped insights (goal: recall@5 of 0.9 by both)"
        result = {"facts": about, "rows": rows}
        measuring.report(title, result, recall_table(rows), as_json=asked.json, record=asked.record)
        best = [row for row in rows if row["way"] == "both" and row["questions"] == "all"]
        return 0 if best and best[0]["at_5"] >= GOAL_RECALL else 1

    with tempfile.TemporaryDirectory() as folder:
        path = asked.archive or Path(folder) / "noctuary.duckdb"
        if not path.exists():  # in a process of its own, whose memory is not the search's
            spawned = multiprocessing.get_context("spawn")
            maker = spawned.Process(target=build, args=(path, asked.insights, asked.seed))
            maker.start()
            maker.join()
        number = Archive(path).query("insights", limit=1)[0]["total"]
        result = {"facts": about, "insights": number, **measure_speed(path, asked.repeats)}
    title = f"Retrieval among {number:,} insights, the best {LIMIT}"
    measuring.report(title, result, speed_table(result), as_json=asked.json, record=asked.record)
    searches = [t for n, t in result["cpu"].items() if n.startswith("search by")]
    held = result["memory_mb"] < GOAL_MB
    return 0 if held and all(statistics.median(times) < GOAL_MS for times in searches) else 1


if __name__ == "__main__":
    sys.exit(main())
