"""Finding insights: an index of what they say, kept up as they are recorded, and the search in it.

A search is hybrid: BM25 over stems, and the cosine of sentence embeddings where the caller has an
encoder and the insights were embedded with it. Covers the index, the embeddings as rows, and the
parameters of `queries/retrieve.sql`, which ranks. Does not compute embeddings; that is
`noctuary.embedding`. Every function works on the connection of its caller.
"""

import functools
import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from noctuary.archive.rows import Row
from noctuary.archive.writing import insert
from noctuary.domain import Insight

if TYPE_CHECKING:
    import numpy as np
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

    from noctuary.embedding import Encoder

SATURATION, LENGTH_PENALTY = 1.2, 0.75
"""k1 and b of BM25 (Robertson and Zaragoza 2009, section 3.2)."""

TYPICAL_WORDS = 17
"""Words of an insight in the index. A constant in the place of BM25's mean, so that what is
recorded later changes no weight that is recorded already."""

BESIDE, MIX = 0.5, 0.5
"""Weight of a word of the mechanisms or of the paper's title, where one of the statement counts 1;
share of the embeddings in the score. Chosen on the half `dev` of `bench/questions.json`."""

NEAR = 400
"""Candidates of the words, and of the signs; see `retrieve.sql`."""

_COMMON = """
a about an and any are as at be been but by can could do does for from had has have how i if in into
is it its may more most much no not of on or our should so some such than that the their them then
there these they this those to up was we were what when where which while who why will with would
you
"""
"""Words too frequent to tell one insight from another."""
_COMMON_WORDS = frozenset(_COMMON.split())

_ABBREVIATIONS = {
    "conv": "convolution",
    "ffn": "feed-forward network",
    "gla": "gated linear attention",
    "icl": "in-context learning",
    "kv": "keys and values",
    "lm": "language model",
    "mlp": "feed-forward network",
    "mqar": "multi-query associative recall",
    "nope": "no position encoding",
    "ppl": "perplexity",
    "qk": "queries and keys",
    "rnn": "recurrent network",
    "rnns": "recurrent networks",
    "rope": "rotary positions",
    "ssm": "state space model",
    "ssms": "state space models",
    "swa": "sliding window attention",
    "ttt": "test-time training",
}
"""What a question may abbreviate, as insights spell it."""


class Retrieved(NamedTuple):
    """An insight that answers a query, and why.

    Attributes:
        score: 1 for one that is the best both by words and by meaning.
        words_rank, meaning_rank: its place by BM25 and by embedding, 1 the best; None where no
            word of the query stands in it, and where it was not compared by embedding.
    """

    insight: Insight
    score: float
    words_rank: int | None
    meaning_rank: int | None


def stems(text: str) -> list[str]:
    """Return the stems of a text in order, without its most common words."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return [_stem(word) for word in re.findall(r"[^\W_]+", plain) if word not in _COMMON_WORDS]


@functools.lru_cache(maxsize=65_536)
def _stem(word: str) -> str:
    return str(_stemmer().stemWord(word))


@functools.cache
def _stemmer() -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer("english")


def spelt_out(text: str) -> str:
    """Return a question followed by what the abbreviations in it stand for."""
    found = [_ABBREVIATIONS.get(word, "") for word in re.findall(r"[a-z]+", text.lower())]
    return " ".join([text, *filter(None, found)])


def words_of(statement: str, mechanisms: Sequence[str], title: str | None) -> dict[str, float]:
    """Return the stems by which an insight is found, with how much they count (BM25F)."""
    count: dict[str, float] = {}
    for text, each in ((statement, 1.0), (" ".join(mechanisms), BESIDE), (title or "", BESIDE)):
        for stem in stems(text):
            count[stem] = count.get(stem, 0.0) + each
    return count


def meaning_of(statement: str, title: str | None) -> str:
    """Return what is embedded of an insight."""
    return f"{statement.rstrip('.')}. {title}" if title else statement


def index(connection: "DuckDBPyConnection") -> None:
    """Index the insights that are not in the index yet."""
    fresh = connection.execute(
        "SELECT insight_id, statement, i.mechanisms, capability, title FROM insights i "
        "ANTI JOIN insight_index USING (insight_id) LEFT JOIN papers ON paper_id = evidence "
        "ORDER BY insight_id"
    ).fetchall()
    if not fresh:
        return
    first = _count(connection, "insight_index")
    words = dict(connection.execute("SELECT word, word_id FROM insight_words").fetchall())
    known = len(words)
    entries, postings = [], []
    for number, (insight_id, statement, mechanisms, capability, title) in enumerate(fresh, first):
        text = words_of(statement, mechanisms, title)
        length = SATURATION * (
            1 - LENGTH_PENALTY + LENGTH_PENALTY * sum(text.values()) / TYPICAL_WORDS
        )
        for word, times in text.items():
            weight = times * (SATURATION + 1) / (times + length)
            word_id = words.setdefault(word, len(words))
            postings.append({"word_id": word_id, "number": number, "weight": weight})
        entries.append(
            {
                "number": number,
                "insight_id": insight_id,
                "capability": capability,
                "mechanisms": mechanisms,
            }
        )
    new_words = [{"word_id": n, "word": word} for word, n in words.items() if n >= known]
    postings.sort(key=lambda row: row["word_id"])  # neighbours on the disk are read together
    insert(connection, "insight_index", entries, (), "")
    insert(connection, "insight_words", new_words, (), "")
    insert(connection, "insight_postings", postings, (), "")


def unembedded(connection: "DuckDBPyConnection", model: str) -> list[tuple[int, str]]:
    """Return the insights without an embedding by this model: number and text, in order."""
    missing = connection.execute(
        "SELECT number, statement, title FROM insight_index JOIN insights USING (insight_id) "
        "ANTI JOIN (SELECT number FROM insight_embeddings WHERE model = ?) USING (number) "
        "LEFT JOIN papers ON paper_id = evidence ORDER BY number",
        [model],
    ).fetchall()
    return [(number, meaning_of(statement, title)) for number, statement, title in missing]


def keep_embeddings(
    connection: "DuckDBPyConnection",
    model: str,
    numbers: Sequence[int],
    vectors: "NDArray[np.float32]",
) -> None:
    """Put embeddings in the place of older ones of the same insights.

    Args:
        vectors: (insights, 384), of length one.
    """
    connection.execute(
        "DELETE FROM insight_embeddings WHERE list_contains($numbers::INTEGER[], number)",
        {"numbers": list(numbers)},
    )
    content = [
        {
            "number": number,
            "model": model,
            "vector": vector.tolist(),
            **{f"signs{part}": bits for part, bits in enumerate(_signs(vector))},
        }
        for number, vector in zip(numbers, vectors, strict=True)
    ]
    insert(connection, "insight_embeddings", content, (), "")


def parameters(
    query: str,
    mechanisms: Sequence[str],
    capability: str | None,
    limit: int,
    encoder: "Encoder | None",
) -> dict[str, Any]:
    """Return the parameters of `queries/retrieve.sql` for a query in words."""
    text = spelt_out(query)
    vector = None if encoder is None else encoder.encode([text])[0]
    return {
        "words": sorted(set(stems(text))),
        "mechanisms": sorted(mechanisms) or None,
        "capability": capability,
        "limit": limit,
        "near": max(NEAR, limit),
        "mix": MIX if encoder else 0.0,
        "model": encoder.model if encoder else None,
        "vector": None if vector is None else vector.tolist(),
        "signs": None if vector is None else _signs(vector),
    }


def retrieved_from(row: Row) -> Retrieved:
    fields = {name: row[name] for name in Insight.model_fields}
    return Retrieved(
        Insight.model_validate(fields), row["score"], row["words_rank"], row["meaning_rank"]
    )


def _signs(vector: "NDArray[np.float32]") -> list[int]:
    """Return which components are positive, as six whole numbers of 64 bits."""
    import numpy as np

    return [int(part) for part in np.packbits(vector > 0).view("<u8")]


def _count(connection: "DuckDBPyConnection", table: str) -> int:
    found = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()
    return int(found[0]) if found else 0
