"""Models whose mixers differ from layer to layer: their size, their parts, and their audit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from rendered_mixers import rendered

from noctuary.audit.candidate import AuditRequest, audit_mixer
from noctuary.bench.suite import ModelShape
from noctuary.space.genome import Genome
from noctuary.space.human import HUMAN
from noctuary.training.model import (
    build_mixer,
    build_model,
    count_parameters,
    load_mixer,
    solve_ffn_width,
)

SHAPE = ModelShape(d_model=64, n_heads=2, n_layers=3, parameter_budget=150_000)
ALTERNATE = Genome.model_validate(
    {**HUMAN["gla"].telling, "local_window": "window32", "layer_pattern": "alternate"}
)


@pytest.fixture
def alternate(tmp_path: Path) -> Path:
    path = tmp_path / "alternate.py"
    path.write_text(rendered(ALTERNATE), encoding="utf-8")
    return path


def test_each_layer_is_built_as_what_it_is(alternate: Path) -> None:
    mixer_class = load_mixer(alternate)
    model = build_model(mixer_class, SHAPE, vocab_size=11, ffn_width=8, seed=0)
    kinds = [type(block.mixer.layer).__name__ for block in model.blocks]  # type: ignore[union-attr]
    assert kinds == ["Recurrence", "Window", "Recurrence"]
    logits, _ = model(torch.randint(11, (2, 70)))
    logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    again = build_model(mixer_class, SHAPE, vocab_size=11, ffn_width=8, seed=1)
    again.load_state_dict(model.state_dict(), strict=True)
    tokens = torch.randint(11, (2, 70))
    assert torch.equal(again(tokens)[0], model(tokens)[0])


def test_the_width_is_solved_for_all_layers_together(alternate: Path) -> None:
    mixer_class = load_mixer(alternate)
    sizes = [count_parameters(build_mixer(mixer_class, 64, 2, layer)) for layer in range(2)]
    assert sizes[0] != sizes[1]
    width, parameters = solve_ffn_width(mixer_class, SHAPE)
    model = build_model(mixer_class, SHAPE, vocab_size=11, ffn_width=width, seed=0)
    assert count_parameters(model.blocks) + count_parameters(model.norm) == parameters
    assert abs(parameters / SHAPE.parameter_budget - 1) < SHAPE.tolerance


def audited(path: Path) -> dict[str, Any]:
    outcome = audit_mixer(AuditRequest(mixer=path, suite="tiny-2", seed=0))
    return {check["name"]: check for check in outcome["checks"]}


def test_a_mixer_that_differs_by_layer_passes_the_audit(alternate: Path) -> None:
    checks = audited(alternate)
    assert [check for check in checks.values() if not check["passed"] or "layer" in check] == []
    assert {"step", "step_growth", "causal_change", "parameters"} <= set(checks)


def test_the_audit_sees_a_later_layer_that_looks_ahead(tmp_path: Path) -> None:
    path = tmp_path / "late.py"
    path.write_text(
        "from torch import nn\n"
        "class Mixer(nn.Module):\n"
        "    def __init__(self, d_model, n_heads=2, layer_idx=0):\n"
        "        super().__init__()\n"
        "        self.out = nn.Linear(d_model, d_model)\n"
        "        self.ahead = layer_idx == 1\n"
        "    def forward(self, x):\n"
        "        return self.out(x.flip(1) if self.ahead else x)\n",
        encoding="utf-8",
    )
    checks = audited(path)
    assert not checks["causal_change"]["passed"]
    assert checks["causal_change"]["detail"].startswith("in layer 1: ")
    assert checks["finite"]["passed"] and checks["finite"]["detail"] == ""
