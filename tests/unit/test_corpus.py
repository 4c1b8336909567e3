"""The user's own text: from files for real, from the hub through a hand-written fake."""

import errno
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from noctuary.bench.tasks.text import ByteText
from noctuary.corpus import MIN_BYTES, prepare_corpus
from noctuary.errors import EnvironmentRefused, UsageError

LINE = "Die Eule liest, während das Labor schläft.\n"
NOBODY = 65534
PLENTY = LINE * (MIN_BYTES // len(LINE))  # enough, as an umlaut takes two bytes


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


class FakeHub:
    """Stands for `datasets.load_dataset`: hands out rows, or fails after some."""

    def __init__(self, rows: list[dict[str, Any]], failure: Exception | None = None) -> None:
        self.rows = rows
        self.failure = failure
        self.calls: list[tuple[Any, ...]] = []
        self.read = 0

    def __call__(
        self, name: str, config: str | None, *, split: str, streaming: bool
    ) -> Iterator[dict[str, Any]]:
        self.calls.append((name, config, split, streaming))
        return self._stream()

    def _stream(self) -> Iterator[dict[str, Any]]:
        for row in self.rows:
            self.read += 1
            yield row
        if self.failure is not None:
            raise self.failure


def test_a_file_is_kept_under_its_hash_and_read_by_the_task(tmp_path: Path) -> None:
    source = write(tmp_path / "owl.txt", PLENTY)
    path = prepare_corpus(str(source), tmp_path / "lab" / "corpora")
    data = path.read_bytes()
    assert data == source.read_bytes()
    assert path == tmp_path / "lab" / "corpora" / f"{hashlib.sha256(data).hexdigest()}.bin"
    assert path == prepare_corpus(str(source), path.parent)
    assert list(path.parent.iterdir()) == [path]
    assert ByteText(32, path=str(path)).corpus_hash == path.stem


def test_a_folder_is_read_in_order_without_what_is_no_text(tmp_path: Path) -> None:
    source = tmp_path / "texts"
    write(source / "b.txt", PLENTY)
    write(source / "a" / "deep.md", "first\n")
    write(source / "c.txt", "last")
    write(source / ".git" / "config", "hidden")
    write(source / ".hidden", "hidden")
    write(source / "empty.txt", "")
    (source / "latin.txt").write_bytes("schläft".encode("latin-1"))
    (source / "a" / "zeros.txt").write_bytes(b"text\0text")
    data = prepare_corpus(str(source), tmp_path / "out").read_bytes()
    assert data == f"first\n\n{PLENTY}\nlast".encode()


def test_loops_pipes_and_what_cannot_be_read_do_no_harm(tmp_path: Path) -> None:
    source = tmp_path / "texts"
    text = write(source / "a.txt", PLENTY)
    (source / "loop").symlink_to(source, target_is_directory=True)
    (source / "self").symlink_to(source / "self")
    (source / "broken").symlink_to(source / "nowhere")
    (source / "again.txt").symlink_to(text)
    (source / "failing").symlink_to("/proc/self/mem")  # reading its beginning is an error
    os.mkfifo(source / "pipe")
    data = prepare_corpus(str(source), tmp_path / "out").read_bytes()
    assert data == PLENTY.encode()


@pytest.fixture
def own_folder() -> Iterator[Path]:
    """A folder of an ordinary user, whom the test runs as; root may read everything."""
    folder = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    if root:
        os.chown(folder, NOBODY, -1)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        for place in (folder / "texts" / "shut", folder / "texts" / "listed"):
            place.chmod(0o700)
        shutil.rmtree(folder)


def test_unreadable_files_and_folders_are_left_out(own_folder: Path) -> None:
    source = own_folder / "texts"
    write(source / "a.txt", PLENTY)
    write(source / "closed.txt", PLENTY).chmod(0)
    write(source / "shut" / "b.txt", PLENTY).parent.chmod(0)
    write(source / "listed" / "c.txt", PLENTY).parent.chmod(0o400)
    data = prepare_corpus(str(source), own_folder / "out").read_bytes()
    assert data == PLENTY.encode()


@pytest.mark.parametrize("extra", range(3))  # the limit may fall within a character
def test_the_text_is_cut_at_the_limit(tmp_path: Path, extra: int) -> None:
    write(tmp_path / "texts" / "a.txt", PLENTY * 2)
    write(tmp_path / "texts" / "b.txt", "never read")
    limit = 1500 * len(LINE.encode()) + LINE.index("ä") + extra
    data = prepare_corpus(str(tmp_path / "texts"), tmp_path / "out", limit).read_bytes()
    assert data == (PLENTY * 2).encode()[:limit]


def test_too_little_text_is_refused_with_what_was_seen(tmp_path: Path) -> None:
    source = write(tmp_path / "owl.txt", "x" * (MIN_BYTES - 1))
    with pytest.raises(UsageError, match=r"has 65535 bytes of readable .* least 65536"):
        prepare_corpus(str(source), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    write(tmp_path / "owl.txt", "x" * MIN_BYTES)
    assert prepare_corpus(str(source), tmp_path / "out").stat().st_size == MIN_BYTES


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither a file nor a folder"):
        prepare_corpus(str(tmp_path / "nowhere"), tmp_path / "out")


def test_a_place_that_cannot_be_written_is_the_environments_fault(tmp_path: Path) -> None:
    source = write(tmp_path / "owl.txt", PLENTY)
    with pytest.raises(EnvironmentRefused, match="may be written"):
        prepare_corpus(str(source), source / "out")


@pytest.mark.parametrize(
    ("source", "call"),
    [
        ("hf:owls", ("owls", None, "train", True)),
        ("hf:night/owls:de", ("night/owls", "de", "train", True)),
        ("hf:night/owls::test", ("night/owls", None, "test", True)),
        ("hf:night/owls:de:test:text", ("night/owls", "de", "test", True)),
    ],
)
def test_a_dataset_is_streamed_as_far_as_needed(
    tmp_path: Path, source: str, call: tuple[Any, ...]
) -> None:
    hub = FakeHub([{"text": PLENTY, "id": 1}, {"text": None, "id": 2}, {"text": PLENTY, "id": 3}])
    whole = prepare_corpus(source, tmp_path, load=hub).read_bytes()
    assert hub.calls == [call]
    assert whole == f"{PLENTY}\n\n{PLENTY}".encode()
    hub.read = 0
    assert len(prepare_corpus(source, tmp_path, MIN_BYTES, load=hub).read_bytes()) == MIN_BYTES
    assert hub.read == 1


def test_another_column_can_be_named_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    hub = FakeHub([{"story": PLENTY, "id": 1}])
    path = prepare_corpus("hf:owls:::story", tmp_path, load=hub)
    assert path.read_bytes() == PLENTY.encode()
    for column in ("text", "id"):
        with pytest.raises(UsageError, match=f"no column '{column}' of text; .* one of story"):
            prepare_corpus(f"hf:owls:::{column}", tmp_path, load=hub)


@pytest.mark.parametrize("source", ["hf:", "hf::de", "hf:owls:de:train:text:more"])
def test_a_dataset_has_a_name_and_at_most_four_parts(tmp_path: Path, source: str) -> None:
    with pytest.raises(UsageError, match="expected hf:NAME"):
        prepare_corpus(source, tmp_path, load=FakeHub([]))


class HttpFailure(Exception):
    """As HTTP libraries raise: of no family that we know."""


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (ConnectionError("no route\nto host"), EnvironmentRefused),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), EnvironmentRefused),
        (HttpFailure("503"), EnvironmentRefused),
        (FileNotFoundError("no dataset"), UsageError),
        (ValueError("Unknown split\nexpected one of ..."), UsageError),
    ],
)
@pytest.mark.parametrize("rows", [0, 1])
def test_what_the_hub_refuses_is_said_in_one_line(
    tmp_path: Path, failure: Exception, expected: type[Exception], rows: int
) -> None:
    hub = FakeHub([{"text": PLENTY}] * rows, failure)
    with pytest.raises(expected, match=type(failure).__name__) as caught:
        prepare_corpus("hf:owls", tmp_path, load=hub)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_without_the_package_it_is_said_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)  # as if it were not installed
    with pytest.raises(EnvironmentRefused, match="pip install datasets"):
        prepare_corpus("hf:owls", tmp_path)
