"""A lab whose rows are attested: recording as stages do, editing as anybody can, comparing."""

import hashlib
import json
from typing import Any

import duckdb
from builders import make_trial, write_trials

from noctuary.archive import Archive
from noctuary.attesting import Agreement, agreement
from noctuary.claims.registration import register
from noctuary.config import LedgerSettings
from noctuary.domain import Plan
from noctuary.lab import Lab
from noctuary.ledger.log import Ledger
from noctuary.ledger.verify import verify_ledger

SETTINGS = LedgerSettings()


def sql(archive: Archive, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Do what any DuckDB client can do to the file."""
    with duckdb.connect(str(archive.path)) as connection:
        return connection.execute(statement, list(values)).fetchall()


def statements(archive: Archive) -> list[dict[str, Any]]:
    rows = sql(archive, "SELECT payload FROM statements ORDER BY number")
    return [json.loads(payload) for (payload,) in rows]


def subjects(statement: dict[str, Any]) -> set[str]:
    return {one["name"] for one in statement["subject"]}


def compared(lab: Lab, archive: Archive) -> Agreement:
    """Return what verification says; the ledger itself is whole in all these tests."""
    assert verify_ledger(lab.ledger, None).ok
    with Ledger.read(lab.ledger) as ledger:
        return agreement(lab, archive, ledger)


def problems(lab: Lab, archive: Archive) -> list[str]:
    return [str(problem) for problem in compared(lab, archive).problems]


def trained(lab: Lab, archive: Archive, score: float = 0.5, **facts: object) -> str:
    """Record a trial as its stage does; return its id."""
    (trial_id,) = write_trials(lab.trials, [make_trial("d1", "mqar", 0, score)])
    (lab.trials / trial_id / "spec.json").write_text("{}")
    (lab.trials / trial_id / "weights.safetensors").write_bytes(b"weights")
    with archive.attested("stage", {"stage": "train", **facts}) as write:
        write.record_trials(lab.trials, [trial_id])
    return trial_id


SOURCE = b"class Mixer: ...\n"
SHA = hashlib.sha256(SOURCE).hexdigest()


def make_plan(**changes: object) -> Plan:
    entrant = {"candidate_id": "d1", "name": "d1", "source": SHA, "rates": {"mqar": 0.005}}
    content = {
        "number": 1,
        "candidate": entrant,
        "baselines": [{**entrant, "candidate_id": "h1", "name": "h1"}],
        "suites": {"base": "s-1"},
        "held_out": ["mqar"],
        "seen": [],
        "rung": 1,
        "trainer": "t",
        "seeds": 2,
        "smallest_effect": 0.02,
        "spread": 0.05,
        "spread_from": "a guess",
        "power": 0.8,
        "campaign_alpha": 0.05,
        "alpha": 0.025,
    }
    return Plan.model_validate({**content, **changes})


def registered(lab: Lab, archive: Archive, plan: Plan) -> None:
    """Register a plan, whose mixers are there."""
    for entrant in (plan.candidate, *plan.baselines):
        (lab.candidates / f"{entrant.candidate_id}.py").write_bytes(SOURCE)
    register(lab, archive, SETTINGS, plan)
