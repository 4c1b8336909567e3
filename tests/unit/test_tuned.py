"""The tuned forms of the human mixers: the files that ship are what the list renders."""

from pathlib import Path

import pytest

from noctuary.audit.static import static_checks
from noctuary.candidates import human_candidates, human_genomes, human_names
from noctuary.errors import UsageError
from noctuary.lab import Lab, shipped
from noctuary.space.tuned import TUNED, TunedForm, tuned_source, write_tuned

FOLDER = shipped("architectures") / "human"


@pytest.mark.parametrize("form", TUNED, ids=lambda form: form.name)
def test_each_file_is_what_the_list_renders(form: TunedForm) -> None:
    source = (FOLDER / "tuned" / f"{form.name}.py").read_text(encoding="utf-8")
    assert source == tuned_source(form)
    assert all(check.passed for check in static_checks(source))


def test_the_folder_holds_nothing_else(tmp_path: Path) -> None:
    write_tuned(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in (FOLDER / "tuned").glob("*.py")}


def test_each_is_a_form_of_a_published_mixer_and_differs_from_it_and_from_the_others() -> None:
    genomes = human_genomes()
    for form in TUNED:
        assert (FOLDER / f"{form.published}.py").exists()
        same = [name for name, axes in genomes.items() if axes == form.genome.axes]
        assert same == [form.name]


def test_all_human_mixers_have_names_of_their_own_and_become_candidates(tmp_path: Path) -> None:
    names = human_names()
    assert len(set(names)) == len(names) >= 22
    lab = Lab.create_or_open(tmp_path / "lab")
    candidates = human_candidates(lab, names)
    assert [candidate.name for candidate in candidates] == list(names)
    assert len({candidate.candidate_id for candidate in candidates}) == len(names)
    with pytest.raises(UsageError, match="'mamba9' is no human baseline"):
        human_candidates(lab, ["mamba9"])
