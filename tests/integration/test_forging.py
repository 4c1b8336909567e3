"""Whoever has the keys of a lab and rewrites its ledger is found, and what was forged is named.

Every signature, hash and head of these ledgers holds. What gives them away is what claims say of
each other, or a head that was kept elsewhere.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from tampered import (
    DECIDED,
    DRAWN,
    REGISTERED,
    ROTATED,
    SIZE,
    Account,
    alone,
    append,
    documented,
    first_entry,
    lines,
    signed_again,
    stated,
)

from noctuary.canonical import canonical_json
from noctuary.domain import Plan
from noctuary.ledger.keys import VerifierKey
from noctuary.ledger.statements import read_statement

SECOND_REGISTERED, SECOND_DRAWN = 13, 14
"""Indices of the entries of the second claim."""

Payloads = list[bytes]


def rewritten(account: Account, change: Callable[[Payloads], object]) -> None:
    """Sign the whole ledger again, with heads of the same sizes, after changing what it says."""
    payloads = account.payloads()
    sizes = account.texts("SELECT size FROM heads ORDER BY size")
    change(payloads)
    lost = SIZE - len(payloads)
    signed_again(account, payloads, [*[size for size in sizes if size < SIZE - lost], SIZE - lost])


def document(payload: bytes) -> dict[str, Any]:
    return dict(json.loads(read_statement(payload).facts["document"]))


def nothing(_payloads: Payloads) -> None:
    pass


def other_seeds(payloads: Payloads) -> None:
    def change(draw: dict[str, Any]) -> None:
        draw["seeds"] = [seed + 1 for seed in draw["seeds"]]

    payloads[DRAWN] = documented(payloads[DRAWN], change)


def one_seed_less(payloads: Payloads) -> None:
    payloads[DRAWN] = documented(payloads[DRAWN], lambda draw: draw["seeds"].pop())


def drawn_with_randomness(payloads: Payloads) -> None:
    def change(draw: dict[str, Any]) -> None:
        draw["randomness"] = "ab" * 32

    payloads[DRAWN] = documented(payloads[DRAWN], change)


def drawn_from_an_earlier_head(payloads: Payloads) -> None:
    earlier = document(payloads[DRAWN])["head"]
    payloads[SECOND_DRAWN] = documented(
        payloads[SECOND_DRAWN], lambda draw: draw.update(head=earlier)
    )


def drawn_twice(payloads: Payloads) -> None:
    last = read_statement(payloads[-1]).facts["time"]
    payloads[-1] = stated(payloads[DRAWN], time=last)


def drawn_without_registration(payloads: Payloads) -> None:
    payloads[REGISTERED] = stated(
        payloads[1], time=read_statement(payloads[REGISTERED]).facts["time"]
    )


def plan_edited(payloads: Payloads) -> None:
    """Lower the bar after the seeds are known, under the old id."""
    payloads[REGISTERED] = documented(
        payloads[REGISTERED], lambda plan: plan.update(smallest_effect=0.001)
    )


def plan_replaced(payloads: Payloads) -> None:
    """Lower the bar, under the id that the new plan has."""
    plan = Plan.model_validate({**document(payloads[REGISTERED]), "smallest_effect": 0.001})
    said = canonical_json(plan.model_dump(mode="json")).decode()
    payloads[REGISTERED] = stated(payloads[REGISTERED], document=said, claim=plan.claim_id)


def renumbered(payloads: Payloads) -> None:
    """Hide that there was a claim before: number and alpha are those of the first."""
    plan = Plan.model_validate({**document(payloads[17]), "number": 1, "alpha": 0.025})
    said = canonical_json(plan.model_dump(mode="json")).decode()
    payloads[17] = stated(payloads[17], document=said, claim=plan.claim_id)


def larger_alpha(payloads: Payloads) -> None:
    plan = Plan.model_validate({**document(payloads[REGISTERED]), "alpha": 0.05})
    said = canonical_json(plan.model_dump(mode="json")).decode()
    payloads[REGISTERED] = stated(payloads[REGISTERED], document=said, claim=plan.claim_id)


def another_file(payloads: Payloads) -> None:
    def change(plan: dict[str, Any]) -> None:
        plan["candidate"]["source"] = "0" * 64

    said = document(payloads[REGISTERED])
    change(said)
    claim = Plan.model_validate(said).claim_id
    payloads[REGISTERED] = stated(documented(payloads[REGISTERED], change), claim=claim)


def turned(payloads: Payloads) -> None:
    payloads[DECIDED] = documented(
        payloads[DECIDED], lambda verdict: verdict.update(status="refuted")
    )


def fewer_trials(payloads: Payloads) -> None:
    payloads[DECIDED] = documented(payloads[DECIDED], lambda verdict: verdict["trials"].popitem())


def a_trial_not_planned(payloads: Payloads) -> None:
    def change(verdict: dict[str, Any]) -> None:
        verdict["trials"]["f" * 16] = "0" * 64

    payloads[DECIDED] = documented(payloads[DECIDED], change)


def another_result(payloads: Payloads) -> None:
    def change(verdict: dict[str, Any]) -> None:
        verdict["trials"][next(iter(verdict["trials"]))] = "0" * 64

    payloads[DECIDED] = documented(payloads[DECIDED], change)


def p_value_improved(payloads: Payloads) -> None:
    """Make the open claim verified, without touching a result."""

    def change(verdict: dict[str, Any]) -> None:
        verdict["status"] = "verified"
        verdict["comparisons"].pop()
        verdict["comparisons"].pop(0)

    payloads[16] = documented(payloads[16], change)


def decided_twice(payloads: Payloads) -> None:
    last = read_statement(payloads[-1]).facts["time"]
    payloads[-1] = stated(payloads[DECIDED], time=last)


def decided_before_drawn(payloads: Payloads) -> None:
    payloads[DRAWN], payloads[DECIDED] = (
        stated(payloads[DECIDED], time=read_statement(payloads[DRAWN]).facts["time"]),
        stated(payloads[DRAWN], time=read_statement(payloads[DECIDED]).facts["time"]),
    )


def time_goes_back(payloads: Payloads) -> None:
    payloads[6] = stated(payloads[6], time="2020-01-01T00:00:00.000000Z")


def time_in_another_form(payloads: Payloads) -> None:
    payloads[6] = stated(payloads[6], time="yesterday")


def begun_again(payloads: Payloads) -> None:
    payloads[6] = stated(payloads[0], time=read_statement(payloads[6]).facts["time"])


def a_number_with_a_point(payloads: Payloads) -> None:
    payloads[6] = payloads[6].replace(b'"stage":"train"', b'"stage":0.5')


def a_subject_twice(payloads: Payloads) -> None:
    start = payloads[6].index(b'"subject":[') + len(b'"subject":[')
    end = payloads[6].index(b"},{", start) + 2
    payloads[6] = payloads[6][:start] + payloads[6][start:end] + payloads[6][start:]


FORGERIES: Sequence[tuple[Callable[[Payloads], object], int, str]] = (
    (other_seeds, DRAWN, "seeds"),
    (one_seed_less, DRAWN, "seeds"),
    (drawn_with_randomness, DRAWN, "randomness"),
    (drawn_from_an_earlier_head, SECOND_DRAWN, "head"),
    (drawn_twice, SIZE - 1, "drawn"),
    (drawn_without_registration, DRAWN, "registered"),
    (plan_edited, REGISTERED, "another claim"),
    (plan_replaced, DRAWN, "registered"),
    (renumbered, 17, "number|claim 3"),
    (larger_alpha, REGISTERED, "alpha"),
    (another_file, REGISTERED, "file"),
    (turned, DECIDED, "refuted.*verified"),
    (fewer_trials, DECIDED, "verified.*trials"),
    (a_trial_not_planned, DECIDED, "trial ffffffffffffffff"),
    (another_result, DECIDED, "attest"),
    (p_value_improved, 16, "comparisons"),
    (decided_twice, SIZE - 1, "decided before"),
    (decided_before_drawn, DRAWN, "drawn"),
    (time_goes_back, 6, "before"),
    (time_in_another_form, 6, "time"),
    (begun_again, 6, "first entry|entry 0"),
    (a_number_with_a_point, 6, "0.5|point"),
    (a_subject_twice, 6, "canonical|form|twice"),
)


def test_to_sign_the_same_again_gives_the_same_ledger(account: Account) -> None:
    before = account.texts("SELECT note FROM heads ORDER BY size")
    rewritten(account, nothing)
    assert account.texts("SELECT note FROM heads ORDER BY size") == before
    assert lines(account, [account.head]) == alone(account, [account.head]) == []


@pytest.mark.parametrize(
    ("forgery", "entry", "words"), FORGERIES, ids=[one[0].__name__ for one in FORGERIES]
)
def test_a_forged_entry_is_named_by_both(
    account: Account, forgery: Callable[[Payloads], object], entry: int, words: str
) -> None:
    rewritten(account, forgery)
    for found in (lines(account), alone(account)):
        assert first_entry(found) == entry, found
        [named, *_] = [line for line in found if line.startswith(f"entry {entry}:")]
        assert re.search(words, named)


def test_a_fork_is_named_by_a_head_that_was_kept(account: Account) -> None:
    def change(payloads: Payloads) -> None:
        payloads[-1:] = [stated(payloads[5], time=read_statement(payloads[-1]).facts["time"])]

    rewritten(account, change)
    assert lines(account) == alone(account) == []
    for found in (lines(account, [account.head]), alone(account, [account.head])):
        assert re.search("(trusted|kept) head .*20.*fork", found[0])


def test_a_claim_that_is_withdrawn_is_named_by_a_head_that_was_kept(account: Account) -> None:
    """To register until the draw pleases leaves no trace only for whoever kept no head."""
    rewritten(account, lambda payloads: payloads.pop())
    assert lines(account) == alone(account) == []
    for found in (lines(account, [account.head]), alone(account, [account.head])):
        assert first_entry(found) == SIZE - 1
        assert "rolled back" in found[0]


def test_a_rotation_that_the_old_key_did_not_sign(account: Account) -> None:
    payloads = account.payloads()
    first, second = account.signers()
    account.run("DELETE FROM entries", "DELETE FROM nodes", "DELETE FROM heads")
    origin = VerifierKey.parse(account.key).name
    append(account, payloads[:ROTATED], first, origin)
    append(account, payloads[ROTATED : ROTATED + 1], second, origin, rotates=[second])
    for found in (lines(account), alone(account)):
        assert first_entry(found) == ROTATED
        assert "signed by" in found[0]
