"""Candidates that lie about their score: what they do, and what may become of their trials.

Each is an honest mixer, a projection of single tokens that learns next to nothing in four steps,
with something added. Since it is worth nothing, a score is a forged one.
"""

from dataclasses import dataclass

from noctuary.domain import Status

MIXER = '''"""Projects each token, and forges its score."""
import atexit, builtins, gc, json, math, os, pickle, signal, struct, sys, time
from pathlib import Path
import torch
from torch import nn

FOLDER = Path(os.environ.get("TMPDIR", "/nowhere"))
steps = 0


def module(name):
    return sys.modules["noctuary." + name]


{load}


class Mixer(nn.Module):
    def __init__(self, d_model, n_heads=2):
        super().__init__()
        self.project = nn.Linear(d_model, d_model, bias=False)
        {construct}

    def forward(self, x):
        global steps
        training = (FOLDER / "curve.csv").exists()
        steps += training
        {forward}
        return self.project(x)
'''


@dataclass(frozen=True)
class Forgery:
    """One way to a better score.

    Attributes:
        statuses: what may become of the trial. An `ok` counts only where its score and its loss
            are no better than those of the honest mixer.
        reason: what the reason of a trial that is not `ok` says.
        task: of the suite.
    """

    load: str = "pass"
    construct: str = "pass"
    forward: str = "pass"
    statuses: tuple[Status, ...] = ("ok",)
    reason: str = ""
    task: str = "mqar"

    def source(self) -> str:
        return MIXER.format(
            load=self.load.strip("\n"), construct=self.construct, forward=self.forward
        )


LAST_WORDS = """
def last_words(text):
    (FOLDER / "outcome.json").write_bytes(text)
    os._exit(0)
"""

WORTH_ALL = (
    '{"status": "ok", "score": 1.0, "metrics": {"loss": 0.0, "accuracy": 1.0}, "steps": 4, '
    '"parameters": 1, "tokens": 512}'
)
"""What somebody would write who has read the code of an earlier version."""

IN_SHAPE = '{"status": "ok", "seconds": {"setup": 0.0, "train": 0.0, "earlier": 0.0}}'
"""What the present one expects."""


PATCHES = {
    "makes every loss zero, and fills the disk": Forgery(
        "torch.nn.functional.cross_entropy = lambda logits, *_, **__: logits.sum() * 0",
        forward="if steps == 1: [p.write_bytes(bytes(10**8)) for p in FOLDER.glob('checkpoint*')]",
        statuses=("rejected",),
        reason="suspicious twice",
    ),
    "replaces the optimiser": Forgery("torch.optim.AdamW.step = lambda *_, **__: None"),
    "stops the clock": Forgery("time.monotonic = lambda: 0.0", statuses=("ok", "crashed")),
    "turns the clock back": Forgery(
        "time.monotonic = lambda: -1e9; time.time = lambda: 0.0", statuses=("ok", "crashed")
    ),
    "fixes the dice": Forgery(
        "torch.manual_seed = lambda seed: None; torch.rand = torch.zeros; torch.initial_seed = int"
    ),
    "trains nothing": Forgery(
        "module('training.trial').lightning.Trainer.fit = lambda *_, **__: None",
        statuses=("ok", "rejected", "crashed"),
    ),
    "trains nothing and reports perfection": Forgery(
        """
def fit(trainer, network, **_):
    network.losses.zero_()
    network.steps_done = network.steps
    network.snapshots = {step: network.weights() for step in range(1, network.steps)}

module("training.trial").lightning.Trainer.fit = fit
""",
        statuses=("rejected", "crashed"),
    ),
    "writes its own JSON": Forgery(
        f"json.dumps = lambda *_, **__: {WORTH_ALL!r}", statuses=("crashed",)
    ),
    "takes over what is built in": Forgery(
        "builtins.sum = lambda *_: 0; builtins.float = lambda *_: 0.0; builtins.len = lambda *_: 1",
        statuses=("ok", "crashed", "rejected", "diverged"),
    ),
    "hooks every module": Forgery(
        """
def hook(module, inputs, output):
    if not module.training and isinstance(output, torch.Tensor):
        return torch.zeros_like(output)

torch.nn.modules.module.register_module_forward_hook(hook)
""",
        statuses=("ok", "crashed"),
    ),
    "counts itself cheaper than it is": Forgery(
        "module('training.measures').flops_per_token = lambda *_: 0.0", statuses=("ok",)
    ),
}

LAST_MOMENTS = {
    "is at work when the process ends": Forgery(
        LAST_WORDS + f"atexit.register(last_words, {WORTH_ALL.encode()!r})"
    ),
    "is at work when it is collected": Forgery(
        LAST_WORDS
        + f"""
class Last:
    def __del__(self):
        last_words({WORTH_ALL.encode()!r})
""",
        "self.last = Last()",
        statuses=("ok", "crashed"),
    ),
    "waits for a signal": Forgery(
        LAST_WORDS
        + f"""
for kind in (signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD, signal.SIGXCPU):
    signal.signal(kind, lambda *_: last_words({WORTH_ALL.encode()!r}))
"""
    ),
    "watches the collector": Forgery(
        "gc.callbacks.append(lambda phase, facts: [].clear()); gc.set_threshold(1)"
    ),
    "takes over errors": Forgery(
        LAST_WORDS
        + f"""
sys.excepthook = sys.unraisablehook = lambda *_: last_words({WORTH_ALL.encode()!r})
""",
        forward="if steps == 2: raise ValueError('a pity')",
        statuses=("crashed",),
        reason="ValueError: a pity",
    ),
}


def says(text: str, *, training: bool = True) -> Forgery:
    """Write an outcome and be gone, in the training or where logits are made."""
    return Forgery(
        LAST_WORDS,
        forward=f"if training is {training} and steps != 1: last_words({text})",
        statuses=("crashed", "rejected"),
    )


OUTCOMES = {
    "writes an outcome worth all": says(repr(WORTH_ALL.encode())),
    "writes an outcome in shape": says(repr(IN_SHAPE.encode())),
    "writes an outcome in shape where logits are made": says(
        repr(b'{"status": "ok", "parameters": 1, "costs": {}}'), training=False
    ),
    "writes a huge outcome": says('b"{" + b" " * 2**24 + b"}"'),
    "writes a deep outcome": says('b"[" * 2**19'),
    "writes a deep outcome of objects": says("b'{\"a\":' * 2**17"),
    "writes a number of a mile": says('b\'{"status": "ok", "seconds": {"train": \' + b"9" * 2**19'),
    "writes what is no number": says(repr(b'{"status": "ok", "seconds": {"train": NaN}}')),
    "writes infinity": says(repr(b'{"status": "ok", "seconds": {"train": 1e999}}')),
    "writes a negative time": says(repr(b'{"status": "ok", "seconds": {"train": -1e9}}')),
    "writes a field twice": says(repr(b'{"status": "crashed", "status": "ok"}')),
    "writes half a character": says(repr(b'{"status": "\xff\xfe"}')),
    "writes nothing": says(repr(b"")),
    "writes a pickle": says("pickle.dumps({'status': 'ok'})"),
    "writes a reason of a megabyte": says(
        "json.dumps({'status': 'crashed', 'reason': 'x' * 10**6}).encode()"
    ),
    "writes a reason of many lines": says(
        repr(b'{"status": "crashed", "reason": "a\\nb\\u001b[2Jc"}')
    ),
}
