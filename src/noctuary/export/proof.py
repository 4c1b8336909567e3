"""The proofs of claims, with what it takes to check them: the verifier in one file, and the key."""

from collections.abc import Sequence
from importlib import resources

from noctuary.archive import Archive
from noctuary.domain import Claim
from noctuary.lab import Lab
from noctuary.ledger.bundle import prove
from noctuary.ledger.log import Ledger


def proofs_of(lab: Lab, archive: Archive, claims: Sequence[Claim]) -> dict[str, str]:
    """Return file name -> content; nothing where there is no claim.

    Raises:
        NotFound: the ledger lacks a claim's entries.
        LedgerBroken: what it has proves nothing.
    """
    if not claims:
        return {}
    with Ledger.read(lab.ledger) as ledger:
        bundles = {claim.claim_id: prove(lab, archive, ledger, claim.claim_id) for claim in claims}
    verifier = resources.files("noctuary.ledger") / "verify_alone.py"
    return {
        **{f"{claim_id}.json": bundle.text for claim_id, bundle in bundles.items()},
        "key.pub": next(iter(bundles.values())).key.rstrip("\n") + "\n",
        "verify_alone.py": verifier.read_text(encoding="utf-8"),
    }
