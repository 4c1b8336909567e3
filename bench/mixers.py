"""How fast the human mixers are, forward and backward: `python` this file.

Each mixer alone, at the width of the standard suite, in fp32 on one thread, gradients of the
input and of all parameters included. It is held against its own `step`, looped over the tokens;
against softmax attention; and against the fastest matrix product of the same run. All that is
compared takes turns, repeat by repeat, and the fastest repeat counts: whatever else the machine
did only ever slowed one down. On a CPU the clock is the CPU time of the process. Where the two
forms of a mixer disagree, the exit status is 1.

With CUDA and the package `fla`, also the kernels of flash-linear-attention for the delta rules,
between our own projections, in bf16. Covers no optimiser, no feed-forward layer, no compiling.
"""

import argparse
import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import measuring
import torch
from torch import Tensor, nn

from noctuary.lab import shipped
from noctuary.training.measures import count_flops
from noctuary.training.model import load_mixer

HUMAN = shipped("architectures") / "human"
REFERENCE = "softmax_attention"
WIDTH, HEADS = 64, 2
"""Channels and heads, as in the standard suite."""
SHORT, LONG = 1024, 4096
"""Tokens a step: as in the standard suite, and enough that dispatch weighs little."""
STEPPED_LENGTHS, LENGTHS = (128, 256, 512), (512, 2048)
FLOP_SHAPES = ((SHORT, 128), (SHORT, 512), (LONG, 512))
GOAL = 0.35
"""Share of the peak that the delta rules are to reach."""
AGREEMENT = 1e-3
"""Largest difference of the two forms, relative to the largest output."""
KERNELS = {"delta_net": "chunk_delta_rule", "gated_delta_net": "chunk_gated_delta_rule"}


def by_steps(mixer: Any) -> Callable[[Tensor], Tensor]:
    """Return the mixer's recurrence as a map of (B, T, D), one token after the other."""

    def forward(x: Tensor) -> Tensor:
        state, outputs = None, []
        for x_t in x.unbind(1):
            y_t, state = mixer.step(x_t, state)
            outputs.append(y_t)
        return torch.stack(outputs, 1)

    return forward


def inputs(tokens: int, length: int, device: str = "cpu") -> Tensor:
    return torch.randn(tokens // length, length, WIDTH, device=device, requires_grad=True)


def training_step(mixer: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], None]:
    """Return a call that runs forward and backward once."""

    def run() -> None:
        y = mixer(x)
        y.backward(torch.ones_like(y))

    return run


def seconds(runs: dict[str, Callable[[], None]], repeats: int, device: str) -> dict[str, float]:
    """Return the fastest of the repeats of each, which take turns."""
    on_gpu = device != "cpu"
    clock = time.perf_counter if on_gpu else time.process_time
    fastest = dict.fromkeys(runs, math.inf)
    for repeat in range(repeats + 1):  # the first one warms up
        for name, run in runs.items():
            if on_gpu:
                torch.cuda.synchronize()
            start = clock()
            run()
            if on_gpu:
                torch.cuda.synchronize()
            if repeat:
                fastest[name] = min(fastest[name], clock() - start)
    return fastest


def matrix_product(size: int) -> Callable[[], None]:
    """Return a call of 2 size^3 floating-point operations."""
    a, b, out = (torch.randn(size, size) for _ in range(3))

    def run() -> None:
        torch.mm(a, b, out=out)

    return run


def against_steps(mixers: dict[str, Any], repeats: int) -> dict[str, Any]:
    """Return tokens a second in both forms, and how far apart their outputs are."""
    found: dict[str, Any] = {name: {} for name in mixers}
    for name, mixer in mixers.items():
        for length in STEPPED_LENGTHS:
            x = inputs(SHORT, length)
            with torch.no_grad():
                y, expected = mixer(x), by_steps(mixer)(x)
            runs = {
                "chunked": training_step(mixer, x),
                "stepped": training_step(by_steps(mixer), x),
            }
            best = seconds(runs, repeats, "cpu")
            found[name][length] = {
                "tokens_per_second": SHORT / best["chunked"],
                "ratio": best["stepped"] / best["chunked"],
                "difference": float((y - expected).abs().max() / expected.abs().max()),
            }
    return found


def side_by_side(mixers: dict[str, Any], tokens: int, length: int, repeats: int) -> dict[str, Any]:
    """Return tokens a second, GFLOP/s and their share of the peak, all mixers taking turns."""
    runs = {name: training_step(mixer, inputs(tokens, length)) for name, mixer in mixers.items()}
    best = seconds({"peak": matrix_product(1024), **runs}, repeats, "cpu")
    highest = 2 * 1024**3 / best["peak"]
    counts = {name: count_flops(run) for name, run in runs.items()}
    return {
        "peak_gflops": highest / 1e9,
        "mixers": {
            name: {
                "tokens_per_second": tokens / best[name],
                "kflop_per_token": counts[name] / tokens / 1e3,
                "gflops": counts[name] / best[name] / 1e9,
                "share": counts[name] / best[name] / highest,
            }
            for name in runs
        },
    }


def with_kernel(
    mixer: Any, kernel: Callable[..., tuple[Tensor, Any]]
) -> Callable[[Tensor], Tensor]:
    """Our projections around a kernel of flash-linear-attention; q is scaled already."""
    conv = sys.modules[type(mixer).__module__].causal_conv

    def forward(x: Tensor) -> Tensor:
        q, k, v = (z.bfloat16() for z in mixer.heads(conv(mixer.qkv(x), mixer.conv)))
        knobs = {"beta": mixer.write_strength(x).squeeze(-1).bfloat16(), "scale": 1.0}
        if hasattr(mixer, "log_decay"):
            knobs["g"] = mixer.log_decay(x).squeeze(-1)
        o, _ = kernel(q=q, k=k, v=v, **knobs)
        return mixer.merge(o, x) if hasattr(mixer, "gate") else mixer.merge(o)

    return forward


def against_kernels(repeats: int) -> dict[str, Any] | None:
    """Return tokens a second on the GPU under bf16, ours and theirs; None without either."""
    try:
        import fla.ops
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    found: dict[str, Any] = {}
    for name, kernel in KERNELS.items():
        mixer = load_mixer(HUMAN / f"{name}.py")(WIDTH, HEADS).cuda()
        theirs = with_kernel(mixer, getattr(fla.ops, kernel))
        for length in LENGTHS:
            x = inputs(16 * LONG, length, "cuda")
            with torch.autocast("cuda", torch.bfloat16):
                runs = {"ours": training_step(mixer, x), "theirs": training_step(theirs, x)}
                best = seconds(runs, repeats, "cuda")
            found[f"{name}, T={length}"] = {side: 16 * LONG / each for side, each in best.items()}
    return found


def thousands(value: float) -> str:
    return f"{value / 1e3:.1f}k"


def tables(result: dict[str, Any]) -> str:
    stepped, shapes = result["against_steps"], result["side_by_side"]
    parts = [
        f"Against the recurrence, one token after the other, {SHORT} tokens a step, in tokens a "
        "CPU-second and times as fast:",
        measuring.markdown(
            ["mixer", *(f"T={length}" for length in STEPPED_LENGTHS), "outputs"],
            [
                [
                    name,
                    *(
                        f"{thousands(one['tokens_per_second'])} {one['ratio']:.1f}x"
                        for one in of_length.values()
                    ),
                    "equal" if agree(of_length) else "DIFFER",
                ]
                for name, of_length in stepped.items()
            ],
        ),
        f"Against {REFERENCE}, {LONG} tokens a step, in tokens a CPU-second and times as fast:",
        measuring.markdown(
            ["mixer", *(f"T={length}" for length in LENGTHS)],
            [
                [name, *(_against_reference(shapes[f"{LONG}/{T}"], name) for T in LENGTHS)]
                for name in stepped
            ],
        ),
        "GFLOP/s of matrix products, convolutions and triangular solves, and their share of the "
        f"fastest matrix product (goal for the delta rules: {GOAL:.0%}):",
        measuring.markdown(
            ["mixer", *(f"{tokens} tokens, T={T}" for tokens, T in FLOP_SHAPES), "kFLOP a token"],
            [
                [
                    name,
                    *(_of_peak(shapes[f"{tokens}/{T}"], name) for tokens, T in FLOP_SHAPES),
                    f"{shapes[f'{SHORT}/128']['mixers'][name]['kflop_per_token']:.0f}",
                ]
                for name in stepped
            ]
            + [
                [
                    "(the product itself)",
                    *(f"{shapes[f'{tokens}/{T}']['peak_gflops']:.0f}" for tokens, T in FLOP_SHAPES),
                    "-",
                ]
            ],
        ),
    ]
    kernels = result["against_kernels"]
    if kernels is None:
        parts.append(
            "The kernels of flash-linear-attention were SKIPPED: no CUDA, or no package fla."
        )
    else:
        parts += [
            "Against the kernels of flash-linear-attention, bf16, in tokens a second:",
            measuring.markdown(
                ["mixer", "ours", "theirs"],
                [
                    [name, thousands(one["ours"]), thousands(one["theirs"])]
                    for name, one in kernels.items()
                ],
            ),
        ]
    return "\n\n".join(parts)


def _against_reference(shape: dict[str, Any], name: str) -> str:
    speed = shape["mixers"][name]["tokens_per_second"]
    ratio = speed / shape["mixers"][REFERENCE]["tokens_per_second"]
    return f"{thousands(speed)} {ratio:.2f}x"


def _of_peak(shape: dict[str, Any], name: str) -> str:
    return f"{shape['mixers'][name]['gflops']:.1f} ({shape['mixers'][name]['share']:.0%})"


def agree(of_length: dict[int, Any]) -> bool:
    return all(one["difference"] < AGREEMENT for one in of_length.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    known = sorted(path.stem for path in HUMAN.glob("*.py"))
    parser.add_argument("--mixers", nargs="+", default=known, choices=known, metavar="NAME")
    parser.add_argument("--repeats", type=int, default=15, help="of the chunked forms")
    parser.add_argument("--step-repeats", type=int, default=4, help="of the loop over tokens")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="append to bench/results.md")
    asked = parser.parse_args()

    about = measuring.facts()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    mixers: dict[str, nn.Module] = {
        name: load_mixer(HUMAN / f"{name}.py")(WIDTH, HEADS)
        for name in dict.fromkeys([*asked.mixers, REFERENCE])
    }
    result: dict[str, Any] = {
        "facts": about,
        "goal": GOAL,
        "against_steps": against_steps(mixers, asked.step_repeats),
        "side_by_side": {
            f"{tokens}/{T}": side_by_side(mixers, tokens, T, asked.repeats)
            for tokens, T in dict.fromkeys((*FLOP_SHAPES, *((LONG, T) for T in LENGTHS)))
        },
        "against_kernels": against_kernels(asked.repeats),
    }
    title = f"Speed of the mixers, D={WIDTH}, H={HEADS}, forward and backward"
    measuring.report(title, result, tables(result), as_json=asked.json, record=asked.record)
    return 0 if all(agree(one) for one in result["against_steps"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
