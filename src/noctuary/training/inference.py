"""From tokens to logits, in a worker process of its own: what scores are computed from.

Covers loading the weights that a training left and running them forward. Knows neither targets
nor scores: those are computed outside (`noctuary.scoring`). It writes `logits.bin` and, in its
outcome, what only a process with the candidate in it can count: parameters, FLOPs and state.
These are the candidate's word, and nothing is ranked by them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor

from noctuary.training import measures
from noctuary.training.devices import resolve_device
from noctuary.training.model import build_model, count_parameters, load_mixer
from noctuary.training.requests import FLOAT_TYPE, LOGITS_FILE, TOKEN_TYPE, LogitsRequest
from noctuary.training.trial import seed_everything


def run_inference(request: LogitsRequest, folder: Path) -> dict[str, Any]:
    """Map all parts to logits, in order; return the outcome.

    The logits are fp32, (sequences, length, vocabulary) for each part.

    Raises:
        RuntimeError: the weights are not those of the model.
        Exception: whatever the candidate raises.
    """
    device = resolve_device(request.device)
    seed_everything(request.seed)
    mixer_class = load_mixer(request.mixer)
    model = build_model(
        mixer_class, request.shape, request.vocab_size, request.ffn_width, request.seed
    )
    model = model.to(device).eval()
    tokens = torch.from_numpy(np.fromfile(request.tokens, dtype=TOKEN_TYPE).astype(np.int64))
    initial = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    files: dict[Path | None, dict[str, Tensor]] = {None: initial}
    with (folder / LOGITS_FILE).open("wb") as out, torch.no_grad():
        for part in request.parts:
            if part.weights is not None and part.weights not in files:
                files[part.weights] = load(part.weights.read_bytes())
            model.load_state_dict(_weights(files[part.weights], part.begin))
            mine, tokens = tokens[: part.tokens], tokens[part.tokens :]
            sequences = mine.view(part.sequences, part.length).to(device)
            size = max(1, request.batch_tokens // part.length)
            for start in range(0, part.sequences, size):
                logits: Tensor = model(sequences[start : start + size])[0]  # (B, T, V)
                out.write(logits.float().cpu().numpy().astype(FLOAT_TYPE).tobytes())
    costs: dict[str, float | None] = {}
    if request.costs_at is not None:
        costs = {
            "flops_per_token": measures.flops_per_token(model, request.costs_at),
            "state_size": measures.state_size(model, request.costs_at),
        }
    return {
        "status": "ok",
        "parameters": count_parameters(model),
        "costs": {name: float(value) for name, value in costs.items() if value is not None},
    }


def _weights(tensors: dict[str, Tensor], begin: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(begin): tensor
        for name, tensor in tensors.items()
        if name.startswith(begin)
    }
