"""Finding insights: the ranking against its naive twin, the index, embeddings, and recall."""

import json
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import duckdb
import numpy as np
import pytest
from builders import make_insight
from numpy.typing import NDArray

from noctuary.archive import Archive, migrations
from noctuary.archive.retrieval import (
    LENGTH_PENALTY,
    MIX,
    NEAR,
    SATURATION,
    TYPICAL_WORDS,
    Retrieved,
    stems,
    words_of,
)
from noctuary.domain import Insight
from noctuary.embedding import Encoder, sentence_encoder
from noctuary.lab import shipped
from noctuary.literature.snapshot import read_snapshot

MECHANISMS = ("update=delta", "decay=vector", "short_conv=conv4", "token_shift=mix")
_TEXT = """
delta rule decay forget gate recall memory keys values state parity tracking length convolution
shift tokens training loss speed kernel chunk window attention linear
"""
WORDS = _TEXT.split()


class Letters:
    """An encoder that needs no model: it adds up one random vector for each stem."""

    def __init__(self, model: str = "letters") -> None:
        self.model = model
        self.texts: list[str] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts += texts
        return np.array([self._vector(text) for text in texts], dtype=np.float32)

    def _vector(self, text: str) -> NDArray[np.float64]:
        vector = np.full(384, 1e-3)
        for stem in stems(text):
            seed = sum(ord(letter) * 31**place for place, letter in enumerate(stem)) % 2**32
            vector += np.random.default_rng(seed).normal(size=384)
        return vector / np.linalg.norm(vector)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "noctuary.duckdb")


def some_insights(number: int, seed: int = 0) -> list[Insight]:
    rng = random.Random(seed)
    made = {}
    while len(made) < number:
        insight = make_insight(
            statement=" ".join(rng.choices(WORDS, k=rng.randint(3, 12))),
            mechanisms=tuple(sorted(rng.sample(MECHANISMS, rng.randint(1, 2)))),
            capability=rng.choice(("recall", "speed", "state_tracking")),
            conditions=rng.choice(("", "small models", "with long training")),
        )
        made[insight.insight_id] = insight
    return list(made.values())


def ids(found: Sequence[Retrieved]) -> list[str]:
    return [hit.insight.insight_id for hit in found]


# The ranking


def naive(
    insights: Sequence[Insight],
    query: str,
    allowed: Callable[[Insight], bool],
    encoder: Encoder | None,
) -> dict[str, float]:
    """Return insight id -> score: BM25 and cosine written out, over all that is allowed."""
    bags = {
        insight.insight_id: words_of(insight.statement, insight.mechanisms, None)
        for insight in insights
    }
    kept = [insight for insight in insights if allowed(insight)]
    bm25 = dict.fromkeys((insight.insight_id for insight in kept), 0.0)
    for word in set(stems(query)):
        documents = sum(word in bag for bag in bags.values())
        idf = math.log(1 + (len(bags) - documents + 0.5) / (documents + 0.5))
        for identity in bm25:
            times, length = bags[identity].get(word, 0), sum(bags[identity].values())
            norm = 1 - LENGTH_PENALTY + LENGTH_PENALTY * length / TYPICAL_WORDS
            bm25[identity] += idf * times * (SATURATION + 1) / (times + SATURATION * norm)
    best = max(bm25.values())
    if encoder is None:
        return {identity: value / best for identity, value in bm25.items() if value > 0}
    vectors = encoder.encode([query, *(insight.statement for insight in kept)])
    cosines = dict(zip(bm25, (vectors[1:] @ vectors[0]).tolist(), strict=True))
    closest = max(cosines.values())
    return {
        identity: (1 - MIX) * bm25[identity] / best + MIX * cosines[identity] / closest
        for identity in bm25
    }


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("by_meaning", [False, True])
def test_the_ranking_equals_its_naive_twin(archive: Archive, seed: int, by_meaning: bool) -> None:
    insights = some_insights(60, seed)
    archive.record_insights(insights)
    encoder = Letters() if by_meaning else None
    if encoder:
        archive.embed_insights(encoder)
    query = " ".join(random.Random(seed).choices(WORDS, k=4)) + "?"
    filters: list[tuple[tuple[str, ...], str | None]] = [
        ((), None),
        (("decay=vector", "update=delta"), None),
        ((), "speed"),
        (("token_shift=mix",), "recall"),
    ]
    for mechanisms, capability in filters:

        def allowed(insight: Insight, some: tuple[str, ...], one: str | None) -> bool:
            return (not some or not {*some}.isdisjoint(insight.mechanisms)) and (
                one is None or insight.capability == one
            )

        twin = naive(
            insights,
            query,
            lambda i, m=mechanisms, c=capability: allowed(i, m, c),  # type: ignore[misc]
            encoder,
        )
        found = archive.retrieve(
            query, mechanisms=mechanisms, capability=capability, limit=60, encoder=encoder
        )
        assert {hit.insight.insight_id: hit.score for hit in found} == pytest.approx(twin, abs=1e-5)
        assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)
        by_id = {insight.insight_id: insight for insight in insights}
        assert all(by_id[hit.insight.insight_id] == hit.insight for hit in found)


def test_the_ranks_say_which_side_found_an_insight(archive: Archive) -> None:
    encoder = Letters()
    archive.record_insights([make_insight(statement="the delta rule overwrites a key")])
    archive.embed_insights(encoder)
    archive.record_insights([make_insight(statement="the delta rule, again, and once more")])
    first, second = archive.retrieve("overwrites a key with the delta rule", encoder=encoder)
    assert (first.words_rank, first.meaning_rank) == (1, 1)
    assert (second.words_rank, second.meaning_rank) == (2, None), "it has no embedding yet"
    assert archive.retrieve("overwrites a key")[0].meaning_rank is None


def test_equal_scores_are_ordered_by_id_however_they_were_recorded(tmp_path: Path) -> None:
    insights = [make_insight(statement="keys decay", strength=n / 10) for n in range(9)]
    orders = []
    for turn, order in enumerate((insights, insights[::-1])):
        archive = Archive(tmp_path / f"{turn}.duckdb")
        for insight in order:
            archive.record_insights([insight])
        orders.append(ids(archive.retrieve("decay of keys", limit=5)))
        assert archive.fingerprint() == Archive(tmp_path / "0.duckdb").fingerprint()
    assert orders[0] == orders[1] == sorted(i.insight_id for i in insights)[:5]


def test_a_filter_narrows_before_the_best_are_taken(archive: Archive) -> None:
    many = [make_insight(statement=f"delta rule recall {n}") for n in range(30)]
    wanted = make_insight(statement="a delta", mechanisms=("decay=vector",), capability="speed")
    archive.record_insights([*many, wanted])
    for narrowed in ({"mechanisms": ["decay=vector"]}, {"capability": "speed"}):
        assert ids(archive.retrieve("delta rule recall", limit=1, **narrowed)) == [  # type: ignore[arg-type]
            wanted.insight_id
        ]


def test_the_signs_bring_the_nearest_among_more_than_are_compared(archive: Archive) -> None:
    insights = some_insights(2 * NEAR + 100)
    encoder = Letters()
    archive.record_insights(insights)
    archive.embed_insights(encoder)
    vectors = encoder.encode([insight.statement for insight in insights])
    for query in ("forget gate length", "kernel chunk speed", "parity"):
        nearest = insights[int(np.argmax(vectors @ encoder.encode([query])[0]))]
        found = archive.retrieve(query, limit=NEAR, encoder=encoder)
        by_meaning = [hit for hit in found if hit.meaning_rank == 1]
        assert ids(by_meaning) == [nearest.insight_id]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?!",
        "the of and",
        "'; DROP TABLE insights; --",
        "$words {1}",
        "паритет 注意力 🙂",
        "x" * 10**5,
    ],
)
def test_any_text_may_be_asked(archive: Archive, query: str) -> None:
    archive.record_insights(some_insights(5))
    assert archive.retrieve(query) == ()
    assert len(archive.insights()) == 5


def test_words_are_found_by_their_stems_in_any_case_and_script() -> None:
    assert stems("Normalising the KEYS") == stems("normalised key")
    assert stems("update=delta, ﬁxed") == stems("update delta fixed")
    assert stems("Gedächtnis 注意力") != []


# The index


def test_an_archive_from_before_the_index_gets_one(archive: Archive) -> None:
    old = make_insight(statement="a sliding window keeps what is near")
    with duckdb.connect(str(archive.path)) as connection:
        migrations.migrate(connection, archive.path, migrations.MIGRATIONS[:6])
        connection.execute(
            "INSERT INTO insights VALUES (?, ?, ['local_window=w8'], 'recall', 1, 0.5, 'p', NULL)",
            [old.insight_id, old.statement],
        )
    (hit,) = archive.retrieve("near window")
    assert (hit.insight.statement, hit.insight.conditions) == (old.statement, "")


def test_recording_again_leaves_the_archive_equal(archive: Archive) -> None:
    archive.record_insights(some_insights(20))
    before = archive.fingerprint()
    archive.record_insights(some_insights(20))
    assert archive.fingerprint() == before
    archive.record_insights(some_insights(21))
    assert archive.fingerprint() != before


# Embeddings


def test_only_what_is_missing_is_embedded_and_looking_changes_no_fingerprint(
    archive: Archive,
) -> None:
    encoder, insights = Letters(), some_insights(12)
    archive.record_insights(insights[:10])
    before = archive.fingerprint()
    archive.embed_insights(encoder)
    assert len(encoder.texts) == 10
    assert archive.fingerprint() == before
    archive.record_insights(insights)
    archive.embed_insights(encoder)
    archive.embed_insights(encoder)
    assert sorted(encoder.texts) == sorted(insight.statement for insight in insights)


def test_another_model_takes_the_place_of_the_first(archive: Archive) -> None:
    old, new = Letters("old"), Letters("new")
    archive.record_insights(some_insights(5))
    archive.embed_insights(old)
    assert all(hit.meaning_rank is None for hit in archive.retrieve("delta", encoder=new))
    archive.embed_insights(new)
    assert len(new.texts) == 5 + 1
    assert all(hit.meaning_rank for hit in archive.retrieve("delta", encoder=new))
    assert all(hit.meaning_rank is None for hit in archive.retrieve("delta", encoder=old))


# Recall


def recall_at_5(archive: Archive, encoder: Encoder | None) -> float:
    path = Path(__file__).parents[2] / "bench" / "questions.json"
    questions = json.loads(path.read_text(encoding="utf-8"))["questions"]
    hits = 0
    for asked in questions:
        found = archive.retrieve(
            asked["question"], mechanisms=asked.get("mechanisms", ()), limit=5, encoder=encoder
        )
        hits += not {hit.insight.statement for hit in found}.isdisjoint(asked["answers"])
    return hits / len(questions)


@pytest.fixture
def shipped_archive(archive: Archive) -> Archive:
    papers, insights = read_snapshot(shipped("data/snapshot") / "papers.json")
    archive.record_papers(papers)
    archive.record_insights(insights)
    return archive


def test_words_alone_answer_most_questions(shipped_archive: Archive) -> None:
    assert recall_at_5(shipped_archive, None) >= 0.75


def test_words_and_meaning_answer_nine_of_ten_questions(
    shipped_archive: Archive, missing: Callable[[str], NoReturn]
) -> None:
    encoder = sentence_encoder() or missing("the extra `embeddings` is not installed")
    shipped_archive.embed_insights(encoder)
    assert recall_at_5(shipped_archive, encoder) >= 0.9
