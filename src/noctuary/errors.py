"""Every error that noctuary raises on purpose, on one page.

A message says what was seen, what was expected and what to do. The exit status is part of the
contract of the command line: 1 a check did not hold, 2 wrong usage or configuration, 3 the
environment refused. What a *candidate* does wrong is not an error but a `Trial.status`.
"""


class NoctuaryError(Exception):
    """The root: one clear line for a person, and the exit status of the command."""

    exit_status = 1


class CheckFailed(NoctuaryError):
    """A check did not hold: an audit rejected, a stage failed, a record is broken."""


class LedgerBroken(CheckFailed):
    """The ledger, or something that it attests, is not what was signed."""


class Stopped(NoctuaryError):
    """A night has to end at a safe point: nothing failed, and the same command goes on."""


class UsageError(NoctuaryError):
    """Wrong usage or configuration: an unknown setting, a budget that is not a duration."""

    exit_status = 2


class NotALab(UsageError):
    """The folder exists, is not empty, and no lab was ever made in it."""


class LabTooNew(UsageError):
    """The lab was written by a newer noctuary than this one."""


class NotFound(UsageError):
    """No record goes by that id."""


class EnvironmentRefused(NoctuaryError):
    """The machine does not give what is needed: no disk, no server, no sandbox."""

    exit_status = 3


class NoSpace(EnvironmentRefused):
    """The disk that holds the lab is full."""


class LabInUse(EnvironmentRefused):
    """Another noctuary process works in this lab."""


class ArchiveBusy(EnvironmentRefused):
    """Another process has held the DuckDB file for longer than we wait."""


class ServerUnavailable(EnvironmentRefused):
    """The Prefect server did not start, or does not answer."""


class WorkerLost(EnvironmentRefused):
    """The process that starts trials died; no trial is to blame."""


class SandboxRefused(EnvironmentRefused):
    """A layer of the sandbox that the policy demands is missing, or one lets through."""
