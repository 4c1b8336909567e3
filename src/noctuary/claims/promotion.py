"""A verified design among the architectures: its file, and beside it the proof of its claim.

Covers where the two go, and writing them. The file is the registered one to the byte: a word added
to it would make it another design than the one that was verified. Whether a person has to consent
is for the flows, and what a proof holds for `ledger.bundle`.
"""

from pathlib import Path

from noctuary.claims.verification import sha256_of
from noctuary.domain import Claim
from noctuary.errors import CheckFailed, LedgerBroken
from noctuary.lab import Lab, explaining_disk_errors, write_atomically

CHECKOUT = Path(__file__).parents[3]
"""Where the program's own source lies, unless it was installed from a wheel."""


def discovered_folder(lab: Lab, checkout: Path = CHECKOUT) -> Path:
    """Return where a lab's verified designs go: a checkout's lab shares them with the checkout."""
    within = lab.root.is_relative_to(checkout) and (checkout / "pyproject.toml").exists()
    return (checkout if within else lab.root) / "architectures" / "discovered"


def promotion_path(folder: Path, claim: Claim) -> Path:
    """Return the file that the claim's design is promoted to; two designs never share one."""
    candidate = claim.plan.candidate
    name = candidate.name if candidate.name.isidentifier() else candidate.candidate_id
    path = folder / f"{name}.py"
    if path.exists() and sha256_of(path.read_bytes()) != candidate.source:
        return folder / f"{name}_{candidate.candidate_id}.py"
    return path


def promoted(lab: Lab, claim: Claim) -> Path | None:
    """Return the file of the claim's design among the architectures, where it is there."""
    path = promotion_path(discovered_folder(lab), claim)
    return path if path.exists() and _proof_path(path).exists() else None


def promote(lab: Lab, claim: Claim, proof: str) -> Path:
    """Put a verified design among the architectures, with the proof of its claim beside it.

    The proof is written first, so that no design is there without one.

    Raises:
        CheckFailed: the claim is not verified.
        LedgerBroken: the design's file is not the registered one.
    """
    candidate = claim.plan.candidate
    if claim.status != "verified":
        raise CheckFailed(
            f"claim {claim.claim_id} is {claim.status}; expected verified: only that promotes "
            f"{candidate.name}"
        )
    own = lab.candidates / f"{candidate.candidate_id}.py"
    source = own.read_bytes() if own.is_file() else b""
    if sha256_of(source) != candidate.source:
        raise LedgerBroken(
            f"{own} is {sha256_of(source)}; expected {candidate.source}, as it was registered: "
            "restore the file"
        )
    folder = discovered_folder(lab)
    with explaining_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        path = promotion_path(folder, claim)
        write_atomically(_proof_path(path), proof)
        write_atomically(path, source)
    return path


def _proof_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}.claim.json")
