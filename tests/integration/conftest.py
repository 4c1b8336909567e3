"""For the tests of this folder: one lab with all kinds of entries, which nobody may change."""

from pathlib import Path

import pytest
from claimed_lab import make_lab
from tampered import Account, copied

from noctuary.lab import Lab


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return make_lab(tmp_path_factory.mktemp("original") / "lab")


@pytest.fixture
def account(original: Lab, tmp_path: Path) -> Account:
    return copied(original, tmp_path)
