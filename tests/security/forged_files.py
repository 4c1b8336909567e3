"""Candidates that lie about their score by what they hand over: weights, curves and logits."""

from forgeries import LAST_MOMENTS, OUTCOMES, PATCHES, Forgery

AHEAD = """
network = module("training.model").SequenceModel
honest = network.forward

def request():
    frame = sys._getframe()
    while "request" not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals["request"]

def known(tokens, logits):
    return 4 * torch.nn.functional.one_hot(tokens[:, 1:], logits.shape[-1]).float()

def recall(wholes, tokens, logits):
    for row, begin in enumerate(tokens):
        for whole in (w for w in wholes if len(w) > len(begin)):
            if torch.equal(whole[: len(begin)], begin):
                logits[row, -1, whole[len(begin)]] += 4

def forward(self, tokens):
    logits, auxiliary = honest(self, tokens)
    {do}
    return logits, auxiliary

network.forward = forward
"""
"""The model itself, with whatever is added to its logits: in training as well, so that the losses
which it reports are the ones that its weights give."""


def ahead(*statements: str) -> str:
    return AHEAD.format(do="\n    ".join(statements))


MEASURED = "if not self.training:"

KNOWS = "logits[:, :-1] += known(tokens, logits)"
"""Of every token but the last one, what follows."""

LONGER_PIECES = """
def longer_pieces():
    import numpy
    rest = torch.from_numpy(numpy.fromfile(request().tokens, dtype="<i4").astype("int64"))
    for one in request().parts:
        mine, rest = rest[: one.tokens], rest[one.tokens :]
        yield from mine.view(one.sequences, one.length)
"""

SEEN = """
def seen():
    for path in FOLDER.parent.rglob("*.log"):
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith("SEEN"):
                yield from map(torch.tensor, json.loads(line[5:]))
"""


def saving(what: str) -> str:
    """Return statements that hand over other weights than were trained."""
    return f"""
trial = module("training.trial")
honest_save = trial.save

def save(tensors):
    {what}

trial.save = save
"""


WEIGHTS = {
    "hands over a pickle": Forgery(
        saving("return pickle.dumps({'weights': [1.0]})"), statuses=("crashed", "rejected")
    ),
    "hands over nothing": Forgery(saving("return b''"), statuses=("crashed", "rejected")),
    "hands over a header that is endless": Forgery(
        saving("return struct.pack('<Q', 2**62) + b'{}'"), statuses=("crashed", "rejected")
    ),
    "hands over a header that is a bomb": Forgery(
        saving("text = b'{\"a\":' * 10**5; return struct.pack('<Q', len(text)) + text"),
        statuses=("crashed", "rejected"),
    ),
    "hands over other shapes": Forgery(
        saving("return honest_save({n: t.new_zeros(t.shape + (2,)) for n, t in tensors.items()})"),
        statuses=("crashed", "rejected"),
    ),
    "hands over half of it": Forgery(
        saving("return honest_save(dict(list(tensors.items())[:2]))"),
        statuses=("crashed", "rejected"),
    ),
    "keeps hidden numbers in a buffer": Forgery(
        construct="self.register_buffer('hidden', torch.zeros(10**6))",
        statuses=("rejected",),
    ),
    "hands over a file of a hundred megabytes": Forgery(
        saving("return honest_save(tensors) + bytes(10**8)"), statuses=("crashed", "rejected")
    ),
    "hands over what is no number": Forgery(
        saving("return honest_save({n: t * math.nan for n, t in tensors.items()})"),
        statuses=("diverged", "crashed", "rejected"),
    ),
    "hands over numbers of another kind": Forgery(
        saving("return honest_save({n: t.double() for n, t in tensors.items()})"),
        statuses=("ok", "crashed", "rejected"),
    ),
    "makes all snapshots the last one": Forgery(
        """
kept = module("training.trial")._hand_over

def hand_over(network, folder):
    network.snapshots = {step: network.weights() for step in network.snapshots}
    kept(network, folder)

module("training.trial")._hand_over = hand_over
""",
        statuses=("ok", "rejected"),
    ),
}

FILES = {
    "writes nonsense for a curve": Forgery(
        forward="if training: (FOLDER / 'curve.csv').write_bytes(b'step,loss\\n\\0\\xff,,')",
    ),
    "writes a curve of a hundred megabytes": Forgery(
        forward="if steps == 7: (FOLDER / 'curve.csv').write_bytes(b'1,0,0\\n' * 2**24)",
        statuses=("ok", "crashed", "rejected"),
    ),
    "writes a forged curve": Forgery(
        """
watch = module("training.watch").Watch
honest_close = watch.close

def close(self):
    honest_close(self)
    (FOLDER / "curve.csv").write_text("step,loss,norm,seconds\\n4,0.0,0.0,0.0\\n")

watch.close = close
""",
    ),
    "leaves nonsense for checkpoints": Forgery(
        forward="[p.write_bytes(pickle.dumps(0)) for p in FOLDER.glob('checkpoint*') if training]",
    ),
    "makes logits of another width": Forgery(
        ahead(MEASURED, "    logits = logits[..., :-1]"), statuses=("crashed", "rejected")
    ),
    "makes too many logits": Forgery(
        ahead(MEASURED, "    logits = torch.cat([logits, logits])"),
        statuses=("crashed", "rejected"),
    ),
    "makes no logits": Forgery(
        ahead(MEASURED, "    logits = logits[:0]"), statuses=("crashed", "rejected")
    ),
    "makes logits that are no numbers": Forgery(
        ahead(MEASURED, "    logits = logits * math.nan"),
        statuses=("crashed", "rejected", "diverged"),
    ),
    "makes logits without bounds": Forgery(
        ahead(MEASURED, "    logits = logits * 1e38 * 1e38"),
        statuses=("crashed", "rejected", "diverged"),
    ),
}

CUT_OFF = "change when what follows is cut off"


def leaks(load: str, *statements: str) -> Forgery:
    """Know the next byte of a text, as it is known to whoever gets the whole sequence."""
    return Forgery(load + ahead(*statements), statuses=("rejected",), reason=CUT_OFF, task="text")


LEAKS = {
    "knows the next token": leaks("", KNOWS),
    "knows the next token once it is trained": leaks(
        "", "trained = bool((self.norm.weight != 1).any())", f"if trained: {KNOWS}"
    ),
    "knows the next token after some bytes": leaks(
        "",
        "rare = (tokens[:, :-1] % 4 == 0).unsqueeze(-1)",
        "logits[:, :-1] += rare * known(tokens, logits)",
    ),
    "remembers whole sequences in the process": leaks(
        "wholes = []\n",
        KNOWS,
        "wholes.extend(tokens)",
        MEASURED,
        "    recall(wholes, tokens, logits)",
    ),
    "remembers whole sequences in what it prints": leaks(
        SEEN,
        KNOWS,
        MEASURED,
        "    print('SEEN', tokens.tolist(), flush=True)",
        "    recall(seen(), tokens, logits)",
    ),
    "looks it up in longer pieces": leaks(
        LONGER_PIECES, KNOWS, MEASURED, "    recall(longer_pieces(), tokens, logits)"
    ),
    "leaks early on, and looks it up in longer pieces": leaks(
        LONGER_PIECES,
        "early = min(16, tokens.shape[1] - 1)",
        "logits[:, :early] += known(tokens, logits)[:, :early]",
        "if not self.training and tokens.shape[1] <= 16: recall(longer_pieces(), tokens, logits)",
    ),
}

FORGERIES = PATCHES | LAST_MOMENTS | OUTCOMES | WEIGHTS | FILES | LEAKS

UNCOVERED = {
    "solves the task by a rule, whatever its weights are": Forgery(
        ahead(
            "for row, sequence in enumerate(tokens.tolist()):",
            "    pairs = {}",
            "    for place, token in enumerate(sequence):",
            "        key = sequence[place - 1] if place else 0",
            "        if token > 8 and 1 <= key <= 8: pairs.setdefault(key, token)",
            "        if token in pairs: logits[row, place, pairs[token]] += 12",
        )
    ),
    "looks the text up in the standard library": Forgery(
        """
from noctuary.bench.tasks.text import corpus

text = corpus().tobytes()
follows = {text[at : at + 6]: text[at + 6] for at in range(len(text) - 6)}
"""
        + ahead(
            "for row, sequence in enumerate(tokens.tolist()):",
            "    for place in range(5, len(sequence)):",
            "        found = follows.get(bytes(sequence[place - 5 : place + 1]))",
            "        if found is not None: logits[row, place, found] += 6",
        ),
        task="text",
    ),
}
"""What gets a score that it does not deserve, to this day; `docs/threat-model.md` says so."""
