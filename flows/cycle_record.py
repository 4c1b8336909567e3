"""The lab's own record of a cycle: opened when it starts, closed where it fails.

The last stage closes a cycle as done. Covers the archive with its statements, the parameters kept
for a rerun, and the journal; what Prefect records is not needed to run a cycle again.
"""

import contextlib
import datetime
from collections.abc import Iterator
from typing import Literal

from prefect import runtime

from noctuary.archive.store import Archive
from noctuary.attesting import flush
from noctuary.errors import NoctuaryError, Stopped
from noctuary.lab import explaining_disk_errors, read_json, write_atomically
from noctuary.night import CycleRun
from tasks.workbench import archive_of, attesting, journal_of, lab_of


def as_begun(run: CycleRun) -> CycleRun:
    """Return a cycle that was begun before with what it keeps of the rules of then."""
    path = lab_of(run).cycles / f"{run.cycle.cycle_id}.json"
    if not path.exists():
        return run
    begun = CycleRun.model_validate(read_json(path)).policy
    return run.model_copy(update={"policy": run.policy.for_cycle_begun_under(begun)})


@contextlib.contextmanager
def recorded(run: CycleRun) -> Iterator[None]:
    """Keep the record of a cycle while its stages run.

    A cycle that is done stays done: run again, all its stages are found finished. One that is
    stopped is not called failed, and is taken up like one that was killed.
    """
    lab, archive, journal = lab_of(run), archive_of(run), journal_of(run)
    cycle_id, flow_run = run.cycle.cycle_id, str(runtime.flow_run.id)
    flush(lab, archive, run.settings.ledger)  # what a kill kept the ledger from
    facts = {"cycle": cycle_id, "number": run.cycle.number}
    if not any(row["status"] == "done" for row in archive.records("cycles", cycle_id=cycle_id)):
        with explaining_disk_errors(lab.cycles):
            lab.cycles.mkdir(exist_ok=True)
            write_atomically(lab.cycles / f"{cycle_id}.json", run.model_dump_json(indent=1) + "\n")
        policy, before = run.policy.policy_id, _last_policy(archive)
        if before not in (None, policy):
            journal.write("policy changed", old=before, new=policy, **facts)
        with attesting(run, "open") as write:
            write.open_cycle(
                run.cycle, datetime.datetime.now(datetime.UTC), flow_run, policy=policy
            )
    journal.write("cycle started", flow_run=flow_run, policy=run.policy.policy_id, **facts)
    try:
        yield
    except Stopped as stop:
        journal.write("cycle stopped", reason=one_line(stop), **facts)
        _close(run, "stopped", stop)
        raise
    except BaseException as error:  # also where a signal ends the process
        journal.write("cycle failed", reason=one_line(error), **facts)
        with contextlib.suppress(NoctuaryError):  # the archive's trouble is not why it failed
            _close(run, "failed", error)
        raise
    flush(lab, archive, run.settings.ledger)
    journal.write("cycle finished", **facts)


def _close(run: CycleRun, status: Literal["stopped", "failed"], why: BaseException) -> None:
    with attesting(run, "close") as write:
        write.close_cycle(run.cycle.cycle_id, status, summary=one_line(why))


def _last_policy(archive: Archive) -> str | None:
    """Return the rules of the cycle that was started last, where they are known."""
    cycles = [row for row in archive.cycles() if row["policy"]]
    last = max(cycles, key=lambda row: row["started"], default=None)
    return None if last is None else str(last["policy"])


def one_line(error: BaseException) -> str:
    """Return what happened on one line; errors of our own need no name."""
    text = " ".join(str(error).split())
    return text if isinstance(error, NoctuaryError) else f"{type(error).__name__}: {text}"
