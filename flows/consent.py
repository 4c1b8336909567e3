"""The gate: a flow run pauses in the Prefect UI until a person has approved or refused.

Prefect's own `pause_flow_run`, with two differences: while it waits, the stop file is heeded, and
when nobody answers in time the run goes on, so that the night can end well. Which question is
asked, and where the answer is kept, is for `noctuary.consent`.
"""

import datetime
import time
from collections.abc import Sequence
from typing import Literal, cast
from uuid import UUID, uuid4

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectHTTPStatusError
from prefect.input import RunInput, keyset_from_paused_state
from prefect.states import Paused, Running

from noctuary.attesting import flush
from noctuary.claims.promotion import discovered_folder
from noctuary.claims.verification import ClaimRun
from noctuary.consent import (
    Answer,
    Question,
    answer_path,
    answer_to,
    cycle_question,
    discovery_question,
    keep,
    promotion_question,
)
from noctuary.domain import Candidate, Claim
from noctuary.errors import CheckFailed, Stopped
from noctuary.night import CycleRun
from noctuary.plan import suite_of
from noctuary.stopping import heed_stop_file
from tasks.workbench import Run, archive_of, journal_of, lab_of, workshop_of

LOOK_EVERY = 1.0
"""Seconds between two looks at the run's state."""

SERVER_GRACE = datetime.timedelta(hours=1)
"""So much later than we, the server would give the pause up, and call the run failed."""


class Decision(RunInput):
    """The form that the UI shows when somebody resumes the run; nothing in it is chosen for them.

    Attributes:
        note: who decides, and why.
    """

    decision: Literal["approve", "refuse"]
    note: str = ""


def consent_to_cycle(run: CycleRun) -> None:
    """Return where the policy wants no consent to this cycle, or somebody gives it.

    Raises:
        Stopped: it was refused, nobody answered in time, or the stop file is there.
    """
    if "cycle" not in run.policy.consent.before:
        return
    answer = _answer(run, cycle_question(run))
    if not answer.approved:
        raise Stopped(f"cycle {run.cycle.number} was refused ({answer.note or 'without a note'})")


def consented(run: CycleRun, going: Sequence[Candidate], rung: int) -> list[Candidate]:
    """Return who trains on this rung, of those that may: on the last one, designs need consent.

    Raises:
        Stopped: nobody answered in time, or the stop file is there.
    """
    designs = [candidate for candidate in going if candidate.kind == "design"]
    last = rung == suite_of(run.settings.training).top
    if not (designs and last and "promotion" in run.policy.consent.before):
        return list(going)
    trials = workshop_of(run).missing(designs, rung)
    if _answer(run, promotion_question(run, designs, rung, trials)).approved:
        return list(going)
    return [candidate for candidate in going if candidate not in designs]


def consented_to_discovery(run: ClaimRun, claim: Claim) -> bool:
    """Return whether a verified design may be put among the architectures.

    Raises:
        Stopped: nobody answered in time, or the stop file is there.
    """
    if "discovery" not in run.policy.consent.before:
        return True
    return _answer(run, discovery_question(claim, discovered_folder(lab_of(run)))).approved


def _answer(run: Run, question: Question) -> Answer:
    """Return what was said before, or ask. A refused cycle is asked about again another night."""
    lab = lab_of(run)
    known = answer_to(lab, question)
    if known is not None:
        _attest(run, known)  # nothing new, unless a kill came before it
        return known
    answer = _ask(run, question)
    if answer.approved or question.before != "cycle":
        keep(lab, answer)
        _attest(run, answer)
    journal_of(run).write(
        "consent answered",
        before=question.before,
        cycle=question.cycle_id,
        approved=answer.approved,
        note=answer.note,
    )
    return answer


def _attest(run: Run, answer: Answer) -> None:
    """Have the ledger say what was said."""
    lab, archive, question = lab_of(run), archive_of(run), answer.question
    facts = {
        "before": question.before,
        "of": question.cycle_id,
        "question": question.text,
        "approved": answer.approved,
        "note": answer.note,
    }
    path = answer_path(lab, question.cycle_id, question.before)
    with archive.attested("consent", facts) as write:
        write.attest_file(lab.root, path.relative_to(lab.root).as_posix())
    flush(lab, archive, run.settings.ledger)


def _ask(run: Run, question: Question) -> Answer:
    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None
    own, patience = context.flow_run.id, datetime.timedelta(seconds=run.policy.consent.patience)
    # a key of its own: the server remembers those of a run that crashed, and would not pause
    pause: State[None] = Paused(
        message=question.text,
        timeout_seconds=int((patience + SERVER_GRACE).total_seconds()),
        pause_key=uuid4().hex,
    )
    keys = keyset_from_paused_state(pause)
    pause.state_details.run_input_keyset = cast(dict[str, str], keys)
    form = Decision.with_initial_data(description=question.text)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(own, pause)
        # a busy server refuses what the client sent twice and it took the first time: look
        state = client.read_flow_run(own).state
        if state is None or state.state_details.pause_key != pause.state_details.pause_key:
            raise CheckFailed(
                f"the run is {state} after the Prefect server was asked to pause it before the "
                f"{question.before}; expected Paused: run the same command again"
            )
        try:
            form.save(keys)
        except PrefectHTTPStatusError as error:
            if error.response.status_code != 409:  # a conflict: sent twice, too
                raise
        journal_of(run).write(
            "consent asked",
            before=question.before,
            cycle=question.cycle_id,
            question=question.text,
            flow_run=str(own),
            until=time.time() + patience.total_seconds(),
        )
        _wait(client, own, run, question)
    said = cast(Decision, form.load(keys))
    return Answer(question=question, approved=said.decision == "approve", note=said.note)


def _wait(client: SyncPrefectClient, own: UUID, run: Run, question: Question) -> None:
    """Return when the run is resumed; where that is given up, let it run on.

    Raises:
        Stopped: nobody answered in time, or the stop file is there.
        CheckFailed: the run was given another state, as by cancelling it.
    """
    patience = run.policy.consent.patience
    deadline = time.monotonic() + patience
    try:
        while (state := client.read_flow_run(own).state) is not None and state.is_paused():
            if time.monotonic() >= deadline:
                raise Stopped(
                    f"nobody answered within {datetime.timedelta(seconds=patience)}: "
                    f"{question.text} Run the same command to be asked again"
                )
            heed_stop_file(lab_of(run), run.policy)
            time.sleep(min(LOOK_EVERY, max(0.0, deadline - time.monotonic())))
    except Stopped:
        client.set_flow_run_state(own, Running(), force=True)
        raise
    if state is None or not state.is_running():
        raise CheckFailed(
            f"the run that waited for consent was set to {state}; expected that somebody resumes "
            "it: run the same command to be asked again"
        )
