"""The lab's own record of a cycle: opened when it starts, closed where it fails.

The last stage closes a cycle as done. Covers the archive, the parameters kept for a rerun, and
the journal; what Prefect records is not needed to run a cycle again.
"""

import contextlib
import datetime
from collections.abc import Iterator

from prefect import runtime

from noctuary.errors import NoctuaryError
from noctuary.lab import explaining_disk_errors, write_atomically
from noctuary.night import CycleRun
from tasks.workbench import archive_of, journal_of, lab_of


@contextlib.contextmanager
def recorded(run: CycleRun) -> Iterator[None]:
    """Keep the record of a cycle while its stages run.

    A cycle that is done stays done: run again, all its stages are found finished.
    """
    lab, archive, journal = lab_of(run), archive_of(run), journal_of(run)
    cycle_id, flow_run = run.cycle.cycle_id, str(runtime.flow_run.id)
    archive.migrate()
    if not any(row["status"] == "done" for row in archive.records("cycles", cycle_id=cycle_id)):
        with explaining_disk_errors(lab.cycles):
            lab.cycles.mkdir(exist_ok=True)
            write_atomically(lab.cycles / f"{cycle_id}.json", run.model_dump_json(indent=1) + "\n")
        archive.open_cycle(run.cycle, datetime.datetime.now(datetime.UTC), flow_run)
    facts = {"cycle": cycle_id, "number": run.cycle.number}
    journal.write("cycle started", flow_run=flow_run, **facts)
    try:
        yield
    except BaseException as error:  # also where a signal ends the process
        journal.write("cycle failed", reason=one_line(error), **facts)
        with contextlib.suppress(NoctuaryError):  # the archive's trouble is not why it failed
            archive.close_cycle(cycle_id, "failed", summary=one_line(error))
        raise
    journal.write("cycle finished", **facts)


def one_line(error: BaseException) -> str:
    """Return what happened on one line; errors of our own need no name."""
    text = " ".join(str(error).split())
    return text if isinstance(error, NoctuaryError) else f"{type(error).__name__}: {text}"
