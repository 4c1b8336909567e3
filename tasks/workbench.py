"""The tools of this process: one launcher and one archive a lab, closed when the process ends."""

import atexit
import functools
from pathlib import Path

from noctuary.archive.store import Archive
from noctuary.config import Settings
from noctuary.journal import Journal
from noctuary.lab import Lab
from noctuary.night import CycleRun
from noctuary.sandbox.launcher import Launcher, default_slots
from noctuary.trials import Workshop


def lab_of(run: CycleRun) -> Lab:
    return Lab(Path(run.lab))


def archive_of(run: CycleRun) -> Archive:
    """Return the archive; the journal hears of it when another program keeps us waiting."""
    journal = journal_of(run)
    return Archive(
        lab_of(run).archive_path,
        run.settings.archive.patience,
        told=lambda holder: journal.write("archive held" if holder else "archive free", by=holder),
    )


def journal_of(run: CycleRun) -> Journal:
    return Journal(lab_of(run).journal_path)


def workshop_of(run: CycleRun) -> Workshop:
    """Return what audits and trials need; the launcher behind it is shared and stays warm."""
    lab = lab_of(run)
    launcher = warm_launcher(lab.root, slots(run.settings))
    journal = Journal(lab.journal_path)
    return Workshop(lab, run.settings.training, launcher, journal, run.policy)


def slots(settings: Settings) -> int:
    return settings.training.workers or default_slots(settings.training.device)


@functools.cache
def warm_launcher(root: Path, count: int) -> Launcher:
    launcher = Launcher(count, root / "logs" / "launcher.log")
    launcher.warm()
    atexit.register(launcher.close)
    return launcher
