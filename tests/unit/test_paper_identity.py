"""One identity a paper, whoever tells of it; and the files in which a lab keeps the answers."""

import datetime
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from builders import make_paper

from noctuary.literature.cache import Cache, Question
from noctuary.literature.identity import Found, arxiv_id, merged, name_of, named
from noctuary.literature.searching import best_matches

NOW = datetime.datetime(2026, 11, 25, 1, 0, tzinfo=datetime.UTC)
S2 = "649def34f8be52c8b66281af98ae884c09aef38b"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("2406.06484", "arxiv:2406.06484"),
        (" 2406.06484v6 ", "arxiv:2406.06484"),
        ("arXiv:2406.06484v2", "arxiv:2406.06484"),
        ("https://arxiv.org/abs/2406.06484v2", "arxiv:2406.06484"),
        ("https://arxiv.org/pdf/2406.06484.pdf", "arxiv:2406.06484"),
        ("10.48550/arXiv.2406.06484", "arxiv:2406.06484"),
        ("https://doi.org/10.48550/ARXIV.2406.06484v1", "arxiv:2406.06484"),
        ("hep-th/9901001v2", "arxiv:hep-th/9901001"),
        ("10.1145/3292500.3330701", "doi:10.1145/3292500.3330701"),
        ("https://dx.doi.org/10.1145/ABC", "doi:10.1145/abc"),
        ("doi:10.1145/ABC", "doi:10.1145/abc"),
        (S2.upper(), f"s2:{S2}"),
        (f"s2:{S2}", f"s2:{S2}"),
        ("CorpusId:215416146", "corpus:215416146"),
        ("corpus:215416146", "corpus:215416146"),
        ("", None),
        ("../etc/passwd", None),
        ("Gated DeltaNet", None),
        ("corpus:many", None),
    ],
)
def test_names_have_one_spelling(text: str, name: str | None) -> None:
    assert name_of(text) == name
    if name:
        assert name_of(name) == name


def test_an_arxiv_id_is_no_other_number() -> None:
    assert arxiv_id("2406.0648") == "2406.0648"
    assert arxiv_id("2406.064841") is None
    assert arxiv_id("24060.64841") is None


def found(
    *names: str, title: str = "A paper", year: int = 2024, abstract: str = "", **changes: Any
) -> Found:
    fields = {"account": "", "mechanisms": (), "axes": None, "source": "semantic_scholar"}
    content = {**fields, **named(names, title, year), "title": title, "year": year, **changes}
    return Found(paper=make_paper(**content), abstract=abstract)


def test_records_that_share_a_name_are_one_paper_in_any_order() -> None:
    records = [
        found("arxiv:2406.06484", title="First title"),
        found("s2:abc", title="Second title"),
        found("s2:abc", "doi:10.1/x", title="Third title"),
        found("doi:10.1/x", "arxiv:2406.06484", title="Fourth title", abstract="Words."),
        found("arxiv:2406.00001", title="Another paper"),
    ]
    for order in itertools.permutations(records):
        papers = merged(order)
        assert {one.paper.paper_id for one in papers} == {"arxiv:2406.06484", "arxiv:2406.00001"}
        (one,) = (one for one in papers if one.paper.paper_id == "arxiv:2406.06484")
        assert one.paper.identifiers == ("arxiv:2406.06484", "doi:10.1/x", "s2:abc")
        assert one.abstract == "Words."
        assert one.paper.title == next(
            record.paper.title for record in order if record.paper.title != "Another paper"
        )


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ({"title": "GATED  delta-networks!"}, True),
        ({"title": "Gated Delta Networks", "year": 2025}, True),
        ({"title": "Gated Delta Networks", "year": 2023}, True),
        ({"title": "Gated Delta Networks", "year": 2026}, False),
        ({"title": "Gated Delta Networks 2"}, False),
        ({"title": "Gatéd Dëlta Networks"}, True),
    ],
)
def test_without_a_shared_name_title_and_year_decide(other: dict[str, Any], same: bool) -> None:
    first = found("arxiv:2412.06464", title="Gated Delta Networks", year=2024)
    assert (len(merged([first, found("s2:abc", **other)])) == 1) == same
    assert (len(merged([found("s2:abc", **other), first])) == 1) == same


def test_two_arxiv_ids_are_two_papers_whatever_their_title() -> None:
    assert len(merged([found("arxiv:2401.00001"), found("arxiv:2402.00002")])) == 2


def test_titles_without_letters_say_nothing() -> None:
    assert len(merged([found("s2:a", title="??"), found("s2:b", title="!!")])) == 2


def test_the_snapshot_keeps_its_own_text() -> None:
    shipped = make_paper()
    fetched = found(
        "arxiv:2406.06484", "s2:abc", title="Other title", year=2025, venue="arXiv", authors=()
    )
    (one,) = merged([Found(paper=shipped), fetched])
    assert one.paper == shipped.model_copy(update={"identifiers": ("arxiv:2406.06484", "s2:abc")})


def test_what_a_record_lacks_comes_from_the_others() -> None:
    bare = found("doi:10.1/x", venue="", authors=())
    (one,) = merged([bare, found("doi:10.1/x", "corpus:7", venue="ICML", abstract="Words.")])
    assert (one.paper.venue, one.abstract) == ("ICML", "Words.")
    assert one.paper.authors == make_paper().authors
    assert one.paper.identifiers == ("doi:10.1/x", "corpus:7")


def question(words: str = "delta rule") -> Question:
    return Question(source="arxiv", kind="search", words=words, limit=5)


def test_the_newest_answer_is_kept(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "literature")
    assert cache.kept(question()) is None
    cache.keep(question(), [found("s2:a", title="線形 — É")], NOW)
    later = NOW + datetime.timedelta(days=1)
    cache.keep(question(), [found("s2:b")], later)
    cache.keep(question("other"), [], NOW)
    kept = Cache(tmp_path / "literature").kept(question())
    assert kept is not None
    assert (kept.date, [one.paper.paper_id for one in kept.found]) == (later, ["s2:b"])
    assert [one.date for one in cache.answers()] == [later, NOW]
    assert not cache.damaged


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("A paper", "B paper"),
        lambda text: text.replace('"year"', '"yaer"'),
        lambda _: "",
        lambda _: "null",
        lambda _: "[" * 100_000,
        lambda _: "\udc80",
    ],
)
def test_a_damaged_answer_counts_as_none(tmp_path: Path, damage: Any) -> None:
    cache = Cache(tmp_path)
    cache.keep(question(), [found("s2:a")], NOW)
    (path,) = (tmp_path / "answers").iterdir()
    text = damage(path.read_text(encoding="utf-8"))
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert cache.kept(question()) is None
    assert cache.answers() == ()
    assert cache.damaged == {path.name}
    cache.keep(question(), [found("s2:a")], NOW)
    assert cache.kept(question()) is not None


def test_an_import_is_kept_once_with_all_its_fields(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    fields = [{"title": "A paper", "pages": "1--9"}]
    first = cache.keep_import("a.bib", [found("s2:a")], fields, NOW)
    before = first.read_bytes()
    again = cache.keep_import("b.bib", [found("s2:a")], fields, NOW + datetime.timedelta(days=1))
    assert again == first and first.read_bytes() == before
    assert json.loads(before)["fields"] == fields
    assert [len(kept.found) for kept in cache.imports()] == [1]


def test_words_are_found_from_their_beginnings() -> None:
    records = [
        found("s2:a", title="Delta networks", authors=("Jörg Müller",)),
        found("s2:b", title="A study", abstract="On networks with the delta rule."),
        found("s2:c", title="Networks of rivers"),
    ]

    def ids(words: str) -> list[str]:
        return [one.paper.paper_id for one in best_matches(records, words)]

    assert ids("delta net") == ["s2:a", "s2:b"]
    assert ids("MULLER") == ["s2:a"]
    assert ids("rule delta") == ["s2:b"]
    assert ids("whales") == [] == ids("?!")
