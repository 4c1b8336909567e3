"""The command line. Each command is a module of its own, imported when it is used.

`noctuary --help` imports click and nothing heavy. Errors on purpose become one line on stderr
and the exit status that the contract gives them.
"""

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click

from noctuary import __version__
from noctuary.errors import NoctuaryError

COMMANDS: dict[str, str] = {
    "run": "Run research cycles now, with a live display: the main job.",
    "serve": "Run the Prefect server with its UI, and the nightly schedule.",
    "rerun": "Rerun what failed in a cycle, and only that.",
    "audit": "Check one mixer file, ours or foreign, without training it.",
    "evaluate": "Train and score one mixer file, beside the human baselines.",
    "claim": "Register a claim and draw its seeds, or show all claims.",
    "verify": "Train the trials of a claim, and decide it.",
    "replay": "Train a recorded trial again, and compare it with its record.",
    "leaderboard": "Show every mixer beside the best human baseline.",
    "show": "Show one record: a design, trial, gap, finding, cycle or paper.",
    "lineage": "Show where a design came from: gap, findings, papers, parents.",
    "gaps": "Show the research questions that were asked, and what became of them.",
    "insights": "Search what is known about mechanisms, from papers and our own trials.",
    "literature": "Fetch, search or import papers.",
    "ledger": "Check and show the signed account, and prove what is in it.",
    "export": "Write a mixer and its weights as a Hugging Face model folder.",
    "doctor": "Check what this machine has, and what is missing.",
}
"""name -> one line of help, so that the list of commands needs no import."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, or asked for their help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"noctuary.cli.{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="noctuary")
def group() -> None:
    """An autonomous research laboratory for token mixers, on hardware that you own."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ends the process with the status of the contract."""
    try:
        result: Any = group.main(args=arguments, prog_name="noctuary", standalone_mode=False)
    except NoctuaryError as error:
        click.echo(f"noctuary: {error}", err=True)
        sys.exit(error.exit_status)
    except click.UsageError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("noctuary: stopped; the same command goes on where it was", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
    sys.exit(result if isinstance(result, int) else 0)
