"""The rules of a lab, from `policy.toml` beside its settings: what may be spent, run and decided.

Settings say how the search works; the policy says what its owner allows. Covers the values and
their hash. Does not enforce anything: who spends, runs or decides asks here first.
"""

from typing import Literal

from pydantic import Field

from noctuary.canonical import content_id
from noctuary.config import Duration, Section

Layer = Literal["group", "limits", "environment", "privileges", "files", "syscalls", "namespaces"]
"""A layer of the sandbox; `sandbox.layers` says what each one is against."""

Consent = Literal["cycle", "promotion"]
"""What a person may want to be asked before."""


class BudgetPolicy(Section):
    """What may be spent; None where there is no limit beside that of the command.

    Attributes:
        time: wall time of a night.
        trials: trials of a night.
        parameters: trainable parameters of a model without embedding and head.
        disk_mb: size of the lab's folder from which no trial is started.
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

    imports: tuple[str, ...] = Field(
        default=("torch", "math", "einops", "typing", "lightning"), strict=False
    )
    forbidden: tuple[str, ...] = Field(default=(), strict=False)
    quadratic: bool = False


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
        stop_file: a file, relative to the lab, that ends the night at the next safe point.
    """

    budget: BudgetPolicy = BudgetPolicy()
    code: CodePolicy = CodePolicy()
    sandbox: SandboxPolicy = SandboxPolicy()
    consent: ConsentPolicy = ConsentPolicy()
    stop_file: str = "stop"

    @property
    def policy_id(self) -> str:
        return content_id(self.model_dump(mode="json"))
