"""Settings: every mistake is named, all at once, on one line.

Covers durations, unknown keys, files that cannot be read, and what decides a cycle's id.
"""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noctuary.config import Settings, load_settings, parse_duration
from noctuary.errors import UsageError

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


@pytest.fixture
def toml(tmp_path: Path) -> Any:
    def write(text: str) -> Path:
        path = tmp_path / "noctuary.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("8h", 28800),
        ("1d", 86400),
        ("1h30m", 5400),
        ("0.5h", 1800),
        (" 2M ", 120),
        (45, 45),
        (1.5, 1.5),
    ],
)
def test_durations(written: Any, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    "written",
    [
        "",
        "30",
        "soon",
        "-5m",
        "0s",
        "5 m x",
        "m5",
        "1h-30m",
        "9" * 400 + "d",
        None,
        True,
        [],
        0,
        -1,
        float("nan"),
        float("inf"),
        10**400,
    ],
)
def test_what_is_not_a_duration_is_refused_with_an_example(written: Any) -> None:
    with pytest.raises(ValueError, match="30m"):
        parse_duration(written)


@given(st.text())
def test_any_text_is_a_duration_or_a_clear_error(text: str) -> None:
    try:
        assert parse_duration(text) > 0
    except ValueError as error:
        assert "is not a duration" in str(error)


def test_the_defaults_load(tmp_path: Path) -> None:
    assert Settings() == load_settings(tmp_path / "none.toml")


def test_an_empty_file_is_the_defaults(toml: Any) -> None:
    assert load_settings(toml("")) == Settings()


def test_settings_are_read(toml: Any) -> None:
    settings = load_settings(toml('[search]\ndesigns = 6\n[training]\ntrial_timeout = "3m"\n'))
    assert settings.search.designs == 6
    assert settings.training.trial_timeout == 180


def test_overrides_win_and_leave_the_rest(toml: Any) -> None:
    path = toml("[search]\ndesigns = 6\nparents = 5\n")
    search = load_settings(path, {"search": {"designs": 2}, "serve": {"port": 5000}}).search
    assert (search.designs, search.parents) == (2, 5)


def test_overrides_are_checked_too(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"search\.designs = 0"):
        load_settings(tmp_path / "none.toml", {"search": {"designs": 0}})


def test_all_problems_come_at_once_in_one_line(toml: Any) -> None:
    path = toml(
        "colour = 1\n[search]\ndesigns = 0\ndesign = 3\n"
        '[training]\ndevice = "tpu"\ntrial_timeout = "soon"\n[surch]\n"a\\nb" = 1\n'
    )
    with pytest.raises(UsageError) as caught:
        load_settings(path)
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.exit_status == 2
    assert str(path) in message
    for part in (
        "unknown setting 'colour'",
        "search.designs = 0",
        "unknown setting 'search.design' "
        "(known here: ablations, designs, keep, parents, parents_by)",
        "training.device = 'tpu'",
        "'soon' is not a duration",
        "unknown setting 'surch' "
        "(known here: archive, claims, ledger, literature, search, serve, training)",
    ):
        assert part in message


@pytest.mark.parametrize(
    "text",
    [
        "not toml",
        "[search",
        "a = 1\na = 2",
        "[search]\ndesigns = " + "9" * 5000,
        "a = " + "[" * 5000,
    ],
)
def test_a_file_that_is_not_toml_is_one_clear_line(toml: Any, text: str) -> None:
    with pytest.raises(UsageError, match="is not valid TOML") as caught:
        load_settings(toml(text))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "noctuary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is not valid TOML"):
        load_settings(path)


def test_a_folder_is_no_settings_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_settings(tmp_path)


@pytest.mark.parametrize("overrides", [None, {"search": {"designs": 2}}])
def test_a_section_that_is_a_value_is_named(toml: Any, overrides: Any) -> None:
    with pytest.raises(UsageError, match=r"search = 3: search is a section; write \[search\]"):
        load_settings(toml("search = 3\n"), overrides)


@pytest.mark.parametrize("value", ["true", '"3"', "3.0", "[3]"])
def test_a_number_is_a_number(toml: Any, value: str) -> None:
    with pytest.raises(UsageError, match=r"training\.seeds"):
        load_settings(toml(f"[training]\nseeds = {value}\n"))


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().search.designs = 9  # type: ignore[misc]


def test_settings_survive_json() -> None:
    assert Settings.model_validate_json(Settings().model_dump_json()) == Settings()
    assert Settings.model_validate(Settings().model_dump(mode="json")) == Settings()


@pytest.mark.parametrize(
    ("section", "key", "value", "decides"),
    [
        ("search", "designs", 9, True),
        ("search", "parents", 9, True),
        ("training", "suite", "other-2", True),
        ("training", "text", "elsewhere.txt", False),  # its bytes do, in the suite's version
        ("training", "seeds", 9, True),
        ("literature", "endpoint", "", True),
        ("literature", "query", "delta rule", True),
        ("literature", "limit", 9, True),
        ("literature", "arxiv_endpoint", "", True),
        ("literature", "fresh", "9h", True),
        ("literature", "patience", "9s", False),
        ("training", "test_salt", "public", True),
        ("training", "workers", 9, False),
        ("training", "trial_timeout", "9m", False),
        ("training", "memory_mb", 9000, False),
        ("serve", "cron", "0 2 * * *", False),
        ("serve", "timezone", "Europe/Berlin", False),
        ("serve", "port", 9000, False),
        ("serve", "grace", "9m", False),
        ("serve", "budget", "9h", False),
        ("ledger", "witness", "https://example.org", False),
        ("claims", "alpha", 0.01, False),
        ("claims", "smallest_effect", 0.05, False),
    ],
)
def test_the_settings_id_is_of_what_decides_a_cycle(
    tmp_path: Path, section: str, key: str, value: Any, decides: bool
) -> None:
    changed = load_settings(tmp_path / "none.toml", {section: {key: value}})
    assert changed != Settings()
    assert (changed.settings_id != Settings().settings_id) == decides


def test_the_share_that_goes_on_is_given_for_each_rung(tmp_path: Path) -> None:
    path = tmp_path / "noctuary.toml"
    path.write_text("[search]\nkeep = [0.9, 0.25]\n")
    search = load_settings(path).search
    assert [search.kept(rung) for rung in range(4)] == [0.9, 0.25, 0.25, 0.25]
    for wrong in ("[]", "[0.0]", "[1.5]", "0.5", '["half"]'):
        path.write_text(f"[search]\nkeep = {wrong}\n")
        with pytest.raises(UsageError, match=r"search\.keep"):
            load_settings(path)
