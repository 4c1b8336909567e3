"""What a finished cycle leaves in the ledger: an entry for each of its stages, and agreement."""

from collections import Counter
from typing import Any

from noctuary.archive import Archive
from noctuary.attesting import Agreement, agreement
from noctuary.journal import Journal
from noctuary.lab import Lab
from noctuary.ledger.log import Ledger
from noctuary.ledger.verify import verify_ledger


def entries_of(ledger: Ledger, cycle_id: str) -> list[dict[str, Any]]:
    entries = [ledger.statement(index) for index in range(ledger.size)]
    return [entry for entry in entries if entry["predicate"].get("cycle", {}).get("id") == cycle_id]


def test_every_stage_of_a_cycle_is_an_entry_and_all_agrees(lab: Lab) -> None:
    archive = Archive(lab.archive_path)
    first = archive.cycles()[0]
    ran = Counter(
        event["stage"]
        for _, event in Journal(lab.journal_path).read()
        if event["event"] == "stage finished" and event["cycle"] == first["cycle_id"]
    )
    assert verify_ledger(lab.ledger, None).ok
    with Ledger.read(lab.ledger) as ledger:
        entries = entries_of(ledger, first["cycle_id"])
        assert agreement(lab, archive, ledger) == Agreement((), ())
    facts = [entry["predicate"] for entry in entries]
    assert Counter(one["stage"] for one in facts) == ran + Counter(["open"])
    assert {"fetch literature", "audit", "train", "promote", "publish"} < set(ran)
    for one in facts:
        assert one["started"] <= one["time"]
        assert one["cycle"] == {"id": first["cycle_id"], "number": 1, "seed": "7"}
        assert {"code", "environment", "policy", "settings", "suite"} < set(one)

    results = {
        fact["stage"]: subject["digest"]["sha256"]
        for fact, entry in zip(facts, entries, strict=True)
        for subject in entry["subject"]
        if subject["name"] == "result"
    }
    given = {fact["stage"]: fact.get("inputs", {}) for fact in facts}
    assert given["synthesise gaps"]["literature"] == results["fetch literature"]
    assert given["analyse"]["candidates"] == results["design candidates"]
    assert given["publish"]["findings"] == results["analyse"]
