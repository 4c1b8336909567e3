"""`noctuary audit`: the verdict on one mixer file, ours or foreign, without training it."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from noctuary.cli.common import console, json_option, print_json, printable, table
from noctuary.errors import CheckFailed

if TYPE_CHECKING:
    from noctuary.domain import Audit, Candidate

SEED = 0
"""Of the made-up tokens: two audits of one file measure the same."""


@click.command("audit")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--class", "class_name", default="Mixer", metavar="NAME", help="The mixer's class in FILE."
)
@click.option(
    "--width", type=click.IntRange(1, 8192), help="D to try it at (default: the suite's)."
)
@click.option("--heads", type=click.IntRange(1, 512), help="Heads (default: the suite's).")
@click.option(
    "--lab",
    "lab_path",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="The lab whose settings and policy hold (default: NOCTUARY_LAB, else data/lab); "
    "none is needed.",
)
@json_option
def command(
    file: Path,
    class_name: str,
    width: int | None,
    heads: int | None,
    lab_path: Path | None,
    as_json: bool,
) -> None:
    """Check the mixer in FILE: safe, causal, sub-quadratic, sound, of the right size.

    FILE defines `class Mixer`, or with --class any torch.nn.Module that takes its width as
    `d_model`, `hidden_size` or its first argument, and whose forward maps (B, T, D) to a tensor
    of that shape or to a tuple that starts with one. Its text is read first; where that passes,
    it is run in the sandbox on made-up tokens. Nothing is recorded. At another --width than the
    suite's, the parameter budget does not apply.
    """
    from noctuary.auditing import audit_candidate
    from noctuary.candidates import audited_candidate
    from noctuary.config import load_settings
    from noctuary.jobs import JobRunner
    from noctuary.lab import Lab, default_lab
    from noctuary.plan import suite_of
    from noctuary.policy import load_policy
    from noctuary.sandbox.launcher import Launcher

    rules = Lab(lab_path or default_lab())
    settings = load_settings(rules.settings_path).training
    policy = load_policy(rules.policy_path)
    suite = suite_of(settings)
    with tempfile.TemporaryDirectory(prefix="noctuary-audit-") as folder:
        lab = Lab.create_or_open(Path(folder))
        lab.require_space()
        candidate = audited_candidate(lab, file)
        with Launcher(1, lab.logs / "launcher.log") as own:
            audit = audit_candidate(
                JobRunner(lab, own, policy.sandbox.demanded),
                candidate,
                suite.version,
                settings,
                policy,
                SEED,
                class_name=class_name,
                d_model=width,
                n_heads=heads,
            )
    if as_json:
        size = {"d_model": width or suite.shape.d_model, "n_heads": heads or suite.shape.n_heads}
        print_json(_as_json(file, class_name, candidate, audit, size))
    else:
        _print(file, class_name, audit)
    if not audit.accepted:
        failed = ", ".join(check.name for check in audit.checks if not check.passed)
        raise CheckFailed(f"{file} is rejected: {printable(failed)}")


def _as_json(
    file: Path, class_name: str, candidate: "Candidate", audit: "Audit", size: dict[str, int]
) -> dict[str, Any]:
    return {
        "file": str(file),
        "class": class_name,
        **size,
        "accepted": audit.accepted,
        **audit.model_dump(),
        "kind": candidate.kind,
    }


def _print(file: Path, class_name: str, audit: "Audit") -> None:
    columns = [("check", False), ("verdict", False), ("measured", True), ("limit", True)]
    shown = table(f"{file}: {class_name}", [*columns, ("what it says", False)])
    for check in audit.checks:
        verdict = "passed" if check.passed else "FAILED"
        numbers = (_number(check.measured), _number(check.limit))
        shown.add_row(printable(check.name), verdict, *numbers, printable(check.detail))
    out = console()
    out.print(shown)
    if audit.accepted:
        size = ""
        if audit.parameters is not None:
            size = (
                f", {audit.parameters:,} parameters without embedding and head "
                f"at feed-forward width {audit.ffn_width}"
            )
        out.print(f"accepted{size}")


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value % 1 == 0 else f"{value:.3g}"
