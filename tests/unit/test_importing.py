"""Papers from BibTeX and JSON files: nothing is lost, and what is wrong is said with its place."""

import json
from pathlib import Path
from typing import Any

import pytest

from noctuary.errors import UsageError
from noctuary.literature.identity import Found
from noctuary.literature.importing import Imported, read_file

BIBTEX = r"""% a comment of a reference manager
@string{icml = "Int. Conf. on {ML}"}
@article{mueller2020,
  title    = {{\"U}ber $O(n^2)$ \& {DeltaNet}: 50% faster},
  author   = {M{\"u}ller, J{\"o}rg and {DeepSeek-AI} and Jan van der Berg and others},
  journal  = icml # " 2020",
  month    = jan,
  year     = 2020,
  abstract = {It is 50% of \emph{all}, na\"{\i}ve and {\O}re.},
  url      = {https://x.org/a%20b},
}
@misc{arx, title = {A}, date = {2024-06-10}, eprint = {2406.06484v2}, archivePrefix = {arXiv}}
@misc{doi, title = "B", year = "2024", doi = {https://doi.org/10.1145/ABC}}
@misc{adoi, title = {C}, year = {2024}, doi = {10.48550/arXiv.2406.00001}}
@article{pre, title = {D}, year = {2020}, journal = {arXiv preprint arXiv:2006.16236v3}}
@misc{url, title = {E}, year = {2023}, url = {https://arxiv.org/abs/2312.06635}}
@misc{other, title = {F}, year = {2023}, eprint = {1234.56789}, eprinttype = {hal}}
@inproceedings{child, title = {G}, crossref = {book}}
@proceedings{book, title = {Proc. of X}, booktitle = {X 2021}, year = {2021}}
"""


def read(tmp_path: Path, content: str | bytes, name: str = "file") -> tuple[Imported, ...]:
    path = tmp_path / name
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return read_file(path)


def complaint(tmp_path: Path, content: str | bytes) -> str:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, content)
    text = str(caught.value)
    assert str(tmp_path) in text and "\n" not in text
    return text


def test_bibtex_is_read_with_its_accents(tmp_path: Path) -> None:
    first = read(tmp_path, BIBTEX)[0]
    paper = first.found.paper
    assert paper.title == "Über O(n^2) & DeltaNet: 50% faster"
    assert paper.authors == ("Jörg Müller", "DeepSeek-AI", "Jan van der Berg", "and others")
    assert (paper.year, paper.venue, paper.source) == (2020, "Int. Conf. on ML 2020", "import")
    assert first.found.abstract == "It is 50% of all, naïve and Øre."


def test_fields_that_no_paper_holds_are_handed_on(tmp_path: Path) -> None:
    fields = read(tmp_path, BIBTEX)[0].fields
    assert fields["url"] == "https://x.org/a%20b"
    assert (fields["month"], fields["key"], fields["entry_type"]) == (
        "jan",
        "mueller2020",
        "article",
    )


def test_names_are_found_where_people_write_them(tmp_path: Path) -> None:
    names = {one.found.paper.title: one.found.paper for one in read(tmp_path, BIBTEX)}
    assert names["A"].paper_id == "arxiv:2406.06484"
    assert names["A"].year == 2024
    assert names["B"].paper_id == "doi:10.1145/abc"
    assert names["C"].paper_id == "arxiv:2406.00001"
    assert names["D"].paper_id == "arxiv:2006.16236"
    assert names["E"].paper_id == "arxiv:2312.06635"
    assert names["F"].paper_id.startswith("title:")
    assert (names["G"].year, names["G"].venue) == (2021, "X 2021")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("@article{a,\n title={A}, year={2020}}\n@article{a, title={B}, year={2020}}", "line 3"),
        ("\n\n@article{a, title={A}, title={B}, year={2020}}", "line 3: the field title is"),
        ("\n@article{a, title={A, year=2020}\n@book{b, title={B}, year={2020}}", "line 2"),
        ("@article{a, year={2020}}", "line 1 (a): no title"),
        ("\n@article{a, title={A}}", "line 2 (a): no year"),
        ("@article{a, title={A}, year={in press}}", "line 1 (a): 'in press' is no year"),
        ("a shopping list", "it holds no paper"),
        ("", "it holds no paper"),
        (b"ok\n@article{a, title={\xff}}", "line 2 is not UTF-8"),
        ('{"papers": [', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('[{"title": "A", "year": NaN}]', "NaN is no number"),
        ('{"papers": 3}', '"papers" is a int, expected a list'),
        ('[{"title": "A", "year": 2020}, 7]', "paper 2 is a int, expected an object"),
        ('[{"title": ["A"], "year": 2020}]', "paper 1: no title"),
        ('[{"title": "A", "year": "soon"}]', "paper 1: 'soon' is no year"),
        ("[]", "it holds no paper"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    assert said in complaint(tmp_path, content)


def test_many_mistakes_are_counted(tmp_path: Path) -> None:
    text = complaint(tmp_path, "\n".join(f"@misc{{k{n}, year={{2020}}}}" for n in range(9)))
    assert "line 5 (k4): no title; and 4 more" in text


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_file(tmp_path / "none.bib")


SHAPES: list[dict[str, Any]] = [
    {  # our own fields
        "title": "T",
        "authors": ["Jörg Müller"],
        "year": 2024,
        "venue": "ICML",
        "arxiv_id": "2406.06484v2",
        "abstract": "Words.",
    },
    {  # Semantic Scholar's
        "paperId": "649def34f8be52c8b66281af98ae884c09aef38b",
        "title": "T",
        "authors": [{"authorId": "1", "name": "Jörg Müller"}],
        "year": 2024,
        "venue": "ICML",
        "externalIds": {"ArXiv": "2406.06484", "CorpusId": 7},
        "abstract": "Words.",
    },
    {  # CSL, as Zotero and Pandoc write it
        "type": "article-journal",
        "title": "T",
        "author": [{"family": "Müller", "given": "Jörg"}],
        "issued": {"date-parts": [["2024", 6]]},
        "container-title": "ICML",
        "DOI": "10.48550/arXiv.2406.06484",
        "abstract": "Words.",
    },
]


@pytest.mark.parametrize("shape", SHAPES, ids=["own", "semantic scholar", "csl"])
@pytest.mark.parametrize("wrapped", [lambda x: [x], lambda x: {"papers": [x]}, lambda x: x])
def test_json_is_read_in_three_shapes(tmp_path: Path, shape: dict[str, Any], wrapped: Any) -> None:
    (one,) = read(tmp_path, "\ufeff" + json.dumps(wrapped(shape), ensure_ascii=False))
    paper = one.found.paper
    assert (paper.paper_id, paper.title, paper.year) == ("arxiv:2406.06484", "T", 2024)
    assert (paper.authors, paper.venue, paper.source) == (("Jörg Müller",), "ICML", "import")
    assert one.found.abstract == "Words."
    assert one.fields == shape


def test_what_we_print_can_be_imported(tmp_path: Path) -> None:
    papers = [one.found.paper for one in read(tmp_path, BIBTEX)]
    text = json.dumps([paper.model_dump(mode="json") for paper in papers])
    again = [one.found for one in read(tmp_path, text)]
    assert again == [Found(paper=paper) for paper in papers]
