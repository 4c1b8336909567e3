"""The tools of this process: one launcher and one archive a lab, closed when the process ends."""

import atexit
import contextlib
import functools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from noctuary.archive.attesting import Attested
from noctuary.archive.store import Archive
from noctuary.attesting import flush
from noctuary.config import Arithmetic, Settings
from noctuary.journal import Journal
from noctuary.lab import Lab
from noctuary.night import CycleRun
from noctuary.policy import Policy
from noctuary.provenance import circumstances, cycle_facts
from noctuary.sandbox.launcher import Launcher, default_slots
from noctuary.trials import Workshop


class Run(Protocol):
    """What the tools are for: a cycle, or the verification of a claim."""

    @property
    def lab(self) -> str: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def policy(self) -> Policy: ...


def lab_of(run: Run) -> Lab:
    return Lab(Path(run.lab))


def archive_of(run: Run) -> Archive:
    """Return the archive; the journal hears of it when another program keeps us waiting."""
    journal = journal_of(run)
    return Archive(
        lab_of(run).archive_path,
        run.settings.archive.patience,
        told=lambda holder: journal.write("archive held" if holder else "archive free", by=holder),
    )


def journal_of(run: Run) -> Journal:
    return Journal(lab_of(run).journal_path)


@contextlib.contextmanager
def attesting(run: CycleRun, stage: str) -> Iterator[Attested]:
    """Record what is recorded inside with a statement about this stage, and tell the ledger."""
    archive = archive_of(run)
    facts = {
        "stage": stage,
        "cycle": cycle_facts(run.cycle),
        **circumstances(run.settings, run.policy),
    }
    with archive.attested("stage", facts) as write:
        yield write
    begin = time.monotonic()
    flush(lab_of(run), archive, run.settings.ledger)
    journal_of(run).write("ledger told", stage=stage, seconds=time.monotonic() - begin)


def workshop_of(run: Run, arithmetic: Arithmetic = "fast") -> Workshop:
    """Return what audits and trials need; the launcher behind it is shared and stays warm."""
    lab = lab_of(run)
    launcher = warm_launcher(lab.root, slots(run.settings), arithmetic)
    journal = Journal(lab.journal_path)
    return Workshop(lab, run.settings.training, launcher, journal, run.policy)


def slots(settings: Settings) -> int:
    return settings.training.workers or default_slots(settings.training.device)


@functools.cache
def warm_launcher(root: Path, count: int, arithmetic: Arithmetic) -> Launcher:
    launcher = Launcher(count, root / "logs" / "launcher.log", arithmetic=arithmetic)
    launcher.warm()
    atexit.register(launcher.close)
    return launcher
