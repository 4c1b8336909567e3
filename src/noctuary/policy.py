"""The rules of a lab, from `policy.toml` beside its settings: what may be spent, run and decided.

Settings say how the search works; the policy says what its owner allows. Covers the values, their
file and their hash, and whether a budget is used up. Does not enforce anything: who spends, runs
or decides asks here first.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from noctuary.canonical import content_id
from noctuary.config import Duration, Section, describe, read_toml
from noctuary.domain import Value
from noctuary.errors import UsageError
from noctuary.space.mechanisms import AXES
from noctuary.space.operators import completed

Layer = Literal["group", "limits", "environment", "privileges", "files", "syscalls", "namespaces"]
"""A layer of the sandbox; `sandbox.layers` says what each one is against."""

Consent = Literal["cycle", "promotion", "discovery"]
"""What a person may want to be asked before."""


def _known_mechanism(text: str) -> str:
    axis, _, value = text.partition("=")
    if axis not in AXES:
        raise ValueError(f"no mechanism; write axis=value, with an axis of {', '.join(AXES)}")
    if value not in AXES[axis]:
        known = ", ".join(f"{axis}={other}" for other in AXES[axis])
        raise ValueError(f"no mechanism; on this axis there are {known}")
    return text


def _package(text: str) -> str:
    if not text.isidentifier():
        raise ValueError("no top-level package; write its name alone, like torch")
    return text


def _plain_name(text: str) -> str:
    if text in ("", ".", "..") or Path(text).name != text:
        raise ValueError("expected the plain name of a file in the lab, like stop")
    return text


class BudgetPolicy(Section):
    """What may be spent; None where there is no limit beside that of the command.

    Of time, trials, tokens and money, no further cycle starts once a limit is reached: a night
    can exceed them by what is left of its last cycle. A night that was killed and is taken up
    again counts from zero.

    Attributes:
        time: wall time of a night.
        trials: trials of a night.
        parameters: trainable parameters of a model without embedding and head.
        disk_mb: size of the lab's folder from which no candidate's training is started.
        tokens: of language models, a night.
        money: for language models, a night, in the currency of their bill.
    """

    time: Duration | None = None
    trials: int | None = Field(default=None, ge=1)
    parameters: int | None = Field(default=None, ge=1)
    disk_mb: int | None = Field(default=None, ge=1)
    tokens: int | None = Field(default=None, ge=0)
    money: float | None = Field(default=None, ge=0)


class CodePolicy(Section):
    """What a candidate may be.

    Attributes:
        imports: top-level packages that its file may import.
        forbidden: mechanisms, as `axis=value`, that the search does not use.
        quadratic: whether work or memory may grow faster than the length does.
    """

    imports: tuple[Annotated[str, AfterValidator(_package)], ...] = Field(
        default=("torch", "math", "einops", "typing", "lightning"), strict=False
    )
    forbidden: tuple[Annotated[str, AfterValidator(_known_mechanism)], ...] = Field(
        default=(), strict=False
    )
    quadratic: bool = False

    @model_validator(mode="after")
    def _leaves_something(self) -> Self:
        if completed({}, {}, self.forbidden) is None:
            raise ValueError("no mixer is left without the forbidden mechanisms; allow some")
        return self


class SandboxPolicy(Section):
    """What must hold before candidate code is read.

    Attributes:
        demanded: layers without which no candidate is run. The others are applied where the
            machine gives them; one that is missing is named in the record of each trial.
    """

    demanded: tuple[Layer, ...] = Field(
        default=("group", "limits", "environment", "privileges", "files", "syscalls"), strict=False
    )


class ConsentPolicy(Section):
    """What needs a person.

    Attributes:
        before: where the night pauses until somebody approves in the Prefect UI.
        patience: how long it waits; then the night ends.
    """

    before: tuple[Consent, ...] = Field(default=(), strict=False)
    patience: Duration = 12 * 3600.0


class Policy(Section):
    """All rules of a lab.

    Attributes:
        stop_file: name of a file in the lab that ends the night at the next safe point.
    """

    budget: BudgetPolicy = BudgetPolicy()
    code: CodePolicy = CodePolicy()
    sandbox: SandboxPolicy = SandboxPolicy()
    consent: ConsentPolicy = ConsentPolicy()
    stop_file: Annotated[str, AfterValidator(_plain_name)] = "stop"

    @property
    def policy_id(self) -> str:
        return content_id(self.model_dump(mode="json"))

    def for_cycle_begun_under(self, begun: "Policy") -> "Policy":
        """Return the rules under which a cycle that began under others goes on.

        What a candidate may be stays as it was: its designs and verdicts are there already. All
        else is the owner's word of now, or a night that a rule has ended could never go on.
        """
        budget = self.budget.model_copy(update={"parameters": begun.budget.parameters})
        return self.model_copy(update={"code": begun.code, "budget": budget})


class Spent(Value):
    """What a night has used of its budgets so far."""

    seconds: float = 0.0
    trials: int = 0
    tokens: int = 0
    money: float = 0.0


def used_up(budget: BudgetPolicy, spent: Spent) -> str:
    """Return which budget of a night is used up, in words; empty where none is.

    A budget of no tokens or no money is used up by the first: a night without a language model
    runs under it.
    """
    if budget.time is not None and spent.seconds >= budget.time:
        return f"{spent.seconds:.0f} s are over (the policy allows {budget.time:.0f})"
    if budget.trials is not None and spent.trials >= budget.trials:
        return f"{spent.trials} trials are done (the policy allows {budget.trials})"
    if budget.tokens is not None and spent.tokens >= max(1, budget.tokens):
        return f"{spent.tokens} tokens are used (the policy allows {budget.tokens})"
    if budget.money is not None and spent.money and spent.money >= budget.money:
        return f"{spent.money:.2f} were spent on models (the policy allows {budget.money:.2f})"
    return ""


def load_policy(path: Path) -> Policy:
    """Return the policy of the file, or the defaults where there is none.

    Raises:
        UsageError: the file cannot be read or is not TOML, or rules are unknown or out of range;
            names them all.
    """
    values = read_toml(path)
    try:
        return Policy.model_validate(values)
    except ValidationError as error:
        raise UsageError(f"{path}: {describe(error, Policy)}") from error
