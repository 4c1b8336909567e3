"""`noctuary ledger`: checks the account, looks into it, and proves single claims and entries."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from noctuary.cli.common import (
    console,
    json_option,
    lab_option,
    open_lab,
    print_json,
    printable,
    table,
)
from noctuary.errors import LedgerBroken, NotFound, UsageError
from noctuary.words import counted

if TYPE_CHECKING:
    from noctuary.archive import Archive
    from noctuary.ledger.verify import Verification

SHOWN = 40
"""Entries that a table shows: the newest."""


@click.group("ledger")
def command() -> None:
    """Check and show the signed account, and prove what is in it."""


@command.command("verify")
@click.argument("path", type=click.Path(path_type=Path, exists=True), required=False)
@click.option(
    "--key",
    metavar="KEY",
    help="The public key that you trust: the line of ledger/key.pub, or a file with it.",
)
@click.option(
    "--head",
    "heads",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="A signed head that you kept; the ledger has to extend it. Can be given again.",
)
@lab_option
@json_option
def verify(
    path: Path | None,
    key: str | None,
    heads: tuple[Path, ...],
    lab_path: Path | None,
    as_json: bool,
) -> None:
    """Check a ledger, or a proof bundle, and name the first entry that is wrong.

    PATH is a lab, a ledger's file or folder, or a bundle (`.json`); without it, the lab. In a lab,
    the archive, the candidates' files and the trials are held against the ledger as well.
    """
    trusted = _text(Path(key)) if key and Path(key).is_file() else key
    if path is not None and path.suffix == ".json":
        _verify_bundle(path, trusted, as_json)
        return
    found = _verified(path, lab_path, trusted, [_text(head) for head in heads])
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        for line in (*map(str, found.problems), *found.remarks):
            click.echo(printable(line))
    if not found.ok:
        more = f" (and {len(found.problems) - 1} more)" if found.problems[1:] else ""
        raise LedgerBroken(f"{found.problems[0]}{more}; expected what was signed")
    if not as_json:
        click.echo(f"all {found.size} entries hold; the head to keep elsewhere:\n\n{found.head}")


@command.command("show")
@click.argument("entry", type=click.IntRange(min=0), required=False)
@lab_option
@json_option
def show(entry: int | None, lab_path: Path | None, as_json: bool) -> None:
    """List the newest entries of the ledger, or show one whole. Does not check anything."""
    from noctuary.ledger.log import Ledger

    lab, _ = open_lab(lab_path)
    with Ledger.read(lab.ledger) as ledger:
        if entry is not None:
            print_json(ledger.statement(entry))
            return
        first = 0 if as_json else max(0, ledger.size - SHOWN)
        rows = [_line(index, ledger.statement(index)) for index in range(first, ledger.size)]
    if as_json:
        print_json(rows)
        return
    made = table("ledger", [("entry", True), ("time", False), ("kind", False), ("about", False)])
    for row in rows:
        made.add_row(str(row["entry"]), row["time"], row["kind"], printable(row["about"]))
    console().print(made)


@command.command("prove")
@click.argument("wanted", metavar="ENTRY|CLAIM")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write to (default: standard output).",
)
@lab_option
def prove(wanted: str, out: Path | None, lab_path: Path | None) -> None:
    """Write the proof of an entry, or of a claim with all that decides it, as one JSON file.

    It verifies alone: by `noctuary ledger verify FILE.json --key KEY`, or by `verify_alone.py`,
    which is one file and needs nothing of noctuary.
    """
    from noctuary.ledger.bundle import prove as proved
    from noctuary.ledger.log import Ledger

    lab, archive = open_lab(lab_path)
    with Ledger.read(lab.ledger) as ledger:
        bundle = proved(lab, archive, ledger, _wanted(archive, wanted))
    _write(out, bundle.text)


@command.command("head")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write to (default: standard output).",
)
@click.option("--publish", is_flag=True, help="Send it to the witness of the lab's settings.")
@lab_option
def head(out: Path | None, publish: bool, lab_path: Path | None) -> None:
    """Print the newest signed head: who keeps it can tell later if the ledger was rewritten."""
    from noctuary.config import load_settings
    from noctuary.ledger.log import Ledger
    from noctuary.ledger.witness import publish as published

    lab, _ = open_lab(lab_path)
    with Ledger.read(lab.ledger) as ledger:
        note = ledger.head()
    _write(out, note)
    if publish:
        settings = load_settings(lab.settings_path).ledger
        if not settings.witness:
            raise UsageError(
                f"no witness in {lab.settings_path}; expected its address: set [ledger] witness"
            )
        answer = published(lab.ledger, settings.witness)
        click.echo(f"{settings.witness} answered; its answer is kept in {answer}", err=True)


@command.command("rotate")
@lab_option
def rotate(lab_path: Path | None) -> None:
    """Let a new key, or the signer of the settings, sign from now on.

    The one before signs that it is its successor.
    """
    from noctuary.attesting import flush
    from noctuary.config import load_settings
    from noctuary.ledger.keys import change_of_signers
    from noctuary.ledger.log import Ledger

    lab, archive = open_lab(lab_path)
    settings = load_settings(lab.settings_path).ledger
    with lab.lock():
        signer, successor = change_of_signers(settings, lab.ledger)
        with Ledger.open(lab.ledger, signer) as ledger:
            ledger.rotate(successor)
            statement = ledger.statement(ledger.size - 1)
        flush(lab, archive, settings)
    click.echo(f"from here on signs {statement['predicate']['key']}")


def _verified(
    path: Path | None, lab_path: Path | None, key: str | None, heads: list[str]
) -> "Verification":
    from noctuary.lab import Lab
    from noctuary.verifying import verify_file, verify_lab

    if path is None or (path / "lab.json").is_file():
        return verify_lab(Lab.open(path or lab_path), key, heads)
    return verify_file(path, key, heads)


def _verify_bundle(path: Path, key: str | None, as_json: bool) -> None:
    from noctuary.ledger.bundle import check_bundle, read_bundle

    if key is None:
        raise UsageError(
            f"{path} says itself whose key signed it; expected the one that you trust: give --key"
        )
    bundle = read_bundle(_text(path))
    problems = check_bundle(bundle, key)
    what = f"claim {bundle.claim}" if bundle.claim else f"entry {bundle.entry}"
    if as_json:
        print_json({"ok": not problems, "about": what, "problems": problems})
    else:
        for problem in problems:
            click.echo(printable(problem))
    if problems:
        raise LedgerBroken(f"{path}: {problems[0]}; expected what was signed")
    if not as_json:
        click.echo(f"the proof of {what} holds")


def _line(index: int, statement: Mapping[str, Any]) -> dict[str, Any]:
    facts = statement["predicate"]
    parts = [str(facts[name]) for name in ("stage", "claim", "name", "key") if name in facts]
    cycle = facts.get("cycle")
    if isinstance(cycle, dict):
        parts.append(f"cycle {cycle.get('number')}")
    return {
        "entry": index,
        "time": facts["time"],
        "kind": statement["predicateType"].split(":")[2],
        "about": ", ".join([*parts, counted(len(statement["subject"]), "subject")]),
    }


def _wanted(archive: "Archive", text: str) -> int | str:
    """Return an entry's index, or the id of the one claim that begins so."""
    claims = archive.claims() if archive.exists() else ()
    found = [claim.claim_id for claim in claims if claim.claim_id.startswith(text)]
    if text.isdecimal() and len(text) < 12:
        return int(text)
    if len(found) == 1:
        return found[0]
    state = "several claims" if found else "no entry and no claim"
    raise NotFound(
        f"{text!r} is {state} of {archive.path}; expected an index, or the id of a claim: "
        "`noctuary ledger show` and `noctuary claim` list them"
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({error}); expected a text file") from error


def _write(path: Path | None, text: str) -> None:
    from noctuary.lab import explaining_disk_errors, write_atomically

    if path is None:
        click.echo(text, nl=False)
        return
    with explaining_disk_errors(path.parent):
        write_atomically(path, text)
