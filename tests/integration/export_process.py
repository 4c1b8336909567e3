"""What somebody does with exported folders, in a process where noctuary cannot be imported.

`python export_process.py load OUT FOLDER...` loads each folder, maps the tokens in `OUT` in
parallel and step by step, generates, pads, and saves and loads again; it writes
`OUT/<folder>.safetensors` and `OUT/<folder>.json`. `python export_process.py score FOLDER TASKS`
lets lm-eval score the task `local_bytes` in TASKS, and prints what it found as JSON.
"""

import json
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.modules |= {"noctuary": None, "lightning": None}  # type: ignore[dict-item]

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

NEW = 12
PROMPTS = ["def main(", "x"]
TEXTS = ["", "a b\n\n c", "\u0100 is no NUL, \0 is one", "naïve 漢字 😀"]


def numbers_in(state: Any) -> int:
    """Return how many numbers a state holds."""
    if isinstance(state, Tensor):
        return state.numel()
    if isinstance(state, dict):
        state = list(state.values())
    return sum(map(numbers_in, state)) if isinstance(state, list | tuple) else 0


def refusal(call: Any) -> str:
    try:
        call()
    except ValueError as error:
        return str(error)
    return ""


def load(folder: Path, out: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True).eval()
    tokens = load_file(out / "tokens.safetensors")["tokens"]  # (B, T)
    found: dict[str, Any] = {"has_step": model.has_step}
    logits = {"parallel": model(tokens).logits}
    if model.has_step:
        cache, parts, sizes = None, [], []
        for part in (tokens[:, :3], *tokens[:, 3:].split(1, 1)):
            output = model(part, cache=cache, use_cache=True)
            cache = output.cache
            parts.append(output.logits)
            sizes.append(numbers_in([rows.states for rows in cache.rows]))
        logits["steps"] = torch.cat(parts, 1)
        found["state_sizes"] = sizes
    short = tokens[1, 5:]
    padded = torch.cat((tokens[1, :5] * 0, short))
    masks = torch.ones_like(tokens)
    masks[1, :5] = 0
    batch = torch.stack((tokens[0], padded))
    logits["short"] = model(short[None]).logits
    logits["padded"] = model(batch, attention_mask=masks).logits[1:, 5:]
    logits["padded_steps"] = model(batch, attention_mask=masks, use_cache=True).logits[1:, 5:]
    behind = torch.stack((tokens[0], torch.cat((short, tokens[1, :5] * 0))))
    logits["padded_behind"] = model(behind, attention_mask=masks.flip(1)).logits[1:, : len(short)]
    save_file(
        {name: value.contiguous() for name, value in logits.items()},
        out / f"{folder.name}.safetensors",
    )

    greedy = {"max_new_tokens": NEW, "do_sample": False}
    if (folder / "tokenizer.json").exists():
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
        prompts = tokenizer(PROMPTS, return_tensors="pt", padding=True)
        found["with_states"] = model.generate(**prompts, **greedy).tolist()
        found["recomputed"] = model.generate(**prompts, use_cache=False, **greedy).tolist()
        alone = tokenizer(PROMPTS[1], return_tensors="pt")
        found["alone"] = model.generate(**alone, **greedy).tolist()
        first = model.generate(**alone, return_dict_in_generate=True, **greedy)
        found["went_on"] = model.generate(first.sequences, cache=first.cache, **greedy).tolist()
        found["longer"] = model.generate(**alone, max_new_tokens=2 * NEW, do_sample=False).tolist()
        found["texts"] = [tokenizer.decode(tokenizer(text)["input_ids"]) for text in TEXTS]
    holes = masks.clone()
    holes[0, 7] = 0
    found["refused"] = {
        "beams": refusal(lambda: model.generate(tokens, num_beams=2, **greedy)),
        "holes": refusal(lambda: model(tokens, attention_mask=holes)),
        "behind": refusal(lambda: model(tokens, attention_mask=masks.flip(1), use_cache=True)),
        "shape": refusal(lambda: model(tokens, attention_mask=masks[:, 1:])),
    }
    found["beams_recomputed"] = list(
        model.generate(tokens, num_beams=2, use_cache=False, **greedy).shape
    )
    loss = model(tokens, labels=tokens).loss
    loss.backward()
    found["loss"] = float(loss)
    found["learns"] = all(one.grad is not None for one in model.parameters())

    saved = out / f"{folder.name}_saved"
    model.save_pretrained(saved)
    found["saved_files"] = sorted(path.name for path in saved.iterdir())
    again = AutoModelForCausalLM.from_pretrained(saved, trust_remote_code=True).eval()
    found["same_when_saved"] = torch.equal(again(tokens).logits, logits["parallel"])
    (out / f"{folder.name}.json").write_text(json.dumps(found))


def score(folder: Path, tasks: Path) -> None:
    import lm_eval
    from lm_eval.tasks import TaskManager

    found = lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(folder), "trust_remote_code": True},
        tasks=["local_bytes"],
        device="cpu",
        batch_size=4,
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        bootstrap_iters=0,
        log_samples=True,
    )
    samples = [
        [sample["doc"], [resp[0][0] for resp in sample["resps"]]]
        for sample in found["samples"]["local_bytes"]
    ]
    print(json.dumps({"acc": found["results"]["local_bytes"]["acc,none"], "samples": samples}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    what, *paths = sys.argv[1:]
    if what == "load":
        for name in paths[1:]:
            load(Path(name), Path(paths[0]))
    else:
        score(Path(paths[0]), Path(paths[1]))
