"""Settings: what a lab's owner may choose, from `noctuary.toml` in the lab and the command line.

Every unknown key is refused, and all problems are reported at once. The defaults are the ones
that work on a laptop without a key, a GPU or a network.
"""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from noctuary.canonical import content_id
from noctuary.errors import UsageError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(value: Any) -> float:
    """Return seconds for `90s`, `30m`, `8h`, `1d`, `1h30m`, or a number of seconds.

    Raises:
        ValueError: the value is not a positive duration.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value) if abs(value) < 1e300 else float("inf")
    else:
        text = str(value).strip().lower()
        if not re.fullmatch(r"(\d+(\.\d+)?[smhd])+", text):
            raise ValueError(f"{value!r} is not a duration; write it like 90s, 30m, 8h or 1h30m")
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{value!r} is not a duration above zero; write it like 90s, 30m or 8h")
    return seconds


Duration = Annotated[float, BeforeValidator(parse_duration)]
"""Seconds, written as `30m` in settings."""


Device = Literal["auto", "cpu", "cuda"]

Arithmetic = Literal["fast", "portable"]
"""As fast as the processor can, or so that processors agree to the last bit."""

Share = Annotated[float, Field(gt=0, le=1)]

ParentsBy = Literal["ranked", "greedy", "random", "ucb1", "aging", "map_elites"]
"""A policy of `search.parents`."""


class Section(BaseModel):
    """Strict, so that `seeds = true` is a mistake and not one seed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SearchSettings(Section):
    """What one cycle proposes.

    Attributes:
        designs: designs proposed a cycle.
        parents: how many of the designs so far may become parents.
        parents_by: how they are chosen.
        ablations: how many of the designs, at most, take a part from a new best design, to see
            what the part contributes.
        keep: share of the designs that go on from the first rung, the second, and so on; the
            last one holds for all that follow.
    """

    designs: int = Field(default=4, ge=1, le=64)
    parents: int = Field(default=4, ge=1, le=64)
    parents_by: ParentsBy = "ranked"
    ablations: int = Field(default=1, ge=0, le=64)
    keep: Annotated[tuple[Share, ...], Field(min_length=1, strict=False)] = (0.8, 0.5)

    def kept(self, rung: int) -> float:
        """Return the share that goes on from a rung."""
        return self.keep[min(rung, len(self.keep) - 1)]


class TrainingSettings(Section):
    """How candidates are trained.

    Attributes:
        suite: name of the suite in `bench.suite.SUITES`.
        text: what the text task is about: empty for the shipped corpus, a file or folder (from
            the lab's folder, where relative), or `hf:NAME[:CONFIG[:SPLIT[:COLUMN]]]` for a
            Hugging Face dataset, which is fetched once.
        seeds: trials per candidate and task on the last rung.
        workers: trials at once; 0 means one a core, or four that share a GPU.
        device: `auto` takes the GPU where torch sees one.
        trial_timeout: wall seconds after which a trial is ended with status `timeout`; its training
            may take so long, and each of the two jobs that measure it.
        memory_mb: memory that a trial may take before its status is `oom`.
        checkpoint: a trial that takes longer than this is kept on disk this often, and goes on
            from there when everything was killed.
        test_salt: with a trial's seed, fixes the test sequences. Empty for the lab's own secret,
            which no candidate can know; any other text is public, and gives two labs that share
            it the same numbers.
        device: where trials train: `cpu`, `cuda`, or `auto` for a GPU where there is one. They
            are measured on the CPU. On a GPU they train in bf16, and stand on a board of their own.
    """

    suite: str = "standard-2"
    text: str = ""
    seeds: int = Field(default=3, ge=2, le=100)
    workers: int = Field(default=0, ge=0, le=1024)
    device: Device = "cpu"
    trial_timeout: Duration = 120.0
    memory_mb: int = Field(default=4096, ge=256)
    checkpoint: Duration = 60.0
    test_salt: str = ""


MAX_PATIENCE = 240.0
"""Seconds; the stage that reads the literature counts as failed soon after."""


class LiteratureSettings(Section):
    """The only outbound connections by default. An empty endpoint keeps noctuary offline.

    Attributes:
        endpoint: base address of the Semantic Scholar graph API.
        arxiv_endpoint: address of the arXiv API, the second source; empty for none.
        query: what every cycle asks for, beside what its last gap is about.
        limit: papers that one question brings at most.
        patience: seconds that a cycle waits for its papers at most, retries included.
        fresh: how long an answer counts as new; only then the same is asked again.
    """

    endpoint: str = "https://api.semanticscholar.org/graph/v1"
    arxiv_endpoint: str = "https://export.arxiv.org/api/query"
    query: str = "linear attention recurrent sequence model"
    limit: int = Field(default=20, ge=1, le=1000)
    patience: Annotated[Duration, Field(le=MAX_PATIENCE)] = 15.0
    fresh: Duration = 86400.0


class ArchiveSettings(Section):
    """How the archive is shared with other programs.

    Attributes:
        patience: seconds to wait for another process that holds the DuckDB file.
    """

    patience: Duration = 120.0


class ServeSettings(Section):
    """The nightly schedule of `noctuary serve`.

    Attributes:
        grace: a scheduled night that starts later than this after its time is skipped.
        budget: how long a scheduled night lasts.
    """

    cron: str = "0 1 * * *"
    timezone: str = "UTC"
    port: int = Field(default=4200, ge=1, le=65535)
    grace: Duration = 3600.0
    budget: Duration = 8 * 3600.0


class LedgerSettings(Section):
    """How the account is signed, and who outside of the lab hears of it.

    Attributes:
        passphrase_from: name of an environment variable that holds the passphrase of the key;
            empty for a key that only its file's permissions protect.
        signer: a command that signs instead of a key in the lab: it gets the bytes on its standard
            input, and writes the 64 bytes of an Ed25519 signature. Empty for the lab's own key.
        signer_key: public key of the signer, in the form of `ledger/key.pub`.
        witness: address that is sent each signed tree head after a night; empty for none.
    """

    passphrase_from: str = ""
    signer: Annotated[tuple[str, ...], Field(strict=False)] = ()
    signer_key: str = ""
    witness: str = ""


class ClaimSettings(Section):
    """How claims are decided.

    Attributes:
        alpha: chance of a false discovery, over all claims of the lab together.
        power: chance that a true effect of the smallest interesting size is verified.
        smallest_effect: difference in score below which an effect is of no interest.
        beacon: address of a drand beacon (its chain) that is mixed into the draw of the seeds;
            empty for none.
    """

    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    power: float = Field(default=0.8, ge=0.5, lt=1)
    smallest_effect: Share = 0.02
    beacon: str = ""


class Settings(Section):
    """All settings of a lab."""

    search: SearchSettings = SearchSettings()
    training: TrainingSettings = TrainingSettings()
    literature: LiteratureSettings = LiteratureSettings()
    archive: ArchiveSettings = ArchiveSettings()
    serve: ServeSettings = ServeSettings()
    ledger: LedgerSettings = LedgerSettings()
    claims: ClaimSettings = ClaimSettings()

    @property
    def settings_id(self) -> str:
        """Hash of what decides the content of a cycle; schedules and limits do not count."""
        return content_id(
            {
                "search": self.search.model_dump(mode="json"),
                "suite": self.training.suite,
                "seeds": self.training.seeds,
                "test_salt": self.training.test_salt,
                "literature": self.literature.model_dump(mode="json", exclude={"patience"}),
            }
        )


def load_settings(path: Path, overrides: dict[str, Any] | None = None) -> Settings:
    """Return the settings of the file, or the defaults where there is none.

    Args:
        overrides: section -> key -> value, from the command line; they win.

    Raises:
        UsageError: the file cannot be read or is not TOML, or settings are unknown or out of
            range; names them all.
    """
    values = read_toml(path)
    for section, keys in (overrides or {}).items():
        current = values.get(section, {})
        if isinstance(current, dict):
            values[section] = {**current, **keys}
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise UsageError(f"{path}: {describe(error, Settings)}") from error


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of the file; none where there is no file.

    Raises:
        UsageError: it cannot be read, or is not TOML.
    """
    if not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, a number of a mile
        raise UsageError(f"{path} is not valid TOML: {error}; mend or remove it") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; mend or remove it") from error


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """Return all problems of a validation on one line, with the known keys where one is unknown."""
    problems = []
    for item in error.errors():
        name = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            known = ", ".join(_known_keys(model, tuple(str(p) for p in item["loc"][:-1])))
            problems.append(f"unknown setting {name!r} (known here: {known})")
        elif item["type"] == "model_type":
            problems.append(f"{name} = {item['input']!r}: {name} is a section; write [{name}]")
        else:
            message = item["msg"].removeprefix("Value error, ")
            problems.append(f"{name} = {item['input']!r}: {message}")
    return "; ".join(problems)


def _known_keys(model: type[BaseModel], where: tuple[str, ...]) -> list[str]:
    for part in where:
        annotation = model.model_fields[part].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return sorted(model.model_fields)
