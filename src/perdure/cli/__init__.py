"""The ``perdure`` command. Each of its commands has a module here, which is imported when the command is used."""

from __future__ import annotations

import importlib
import sys

import click

import perdure

#: Command -> its module's name below this package, and what it does in a line.
COMMANDS = {
    "server": ("_server", "Serve a home over Temporal's gRPC API."),
    "migrate": ("_migrate", "Move runs from one home to another."),
    "export": ("_export", "Write closed histories as files, once or continuously."),
    "store": ("_store", "Make and update the tables of a PostgreSQL home."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = COMMANDS.get(cmd_name)
        if found is None:
            return None
        command: click.Command = importlib.import_module(f"perdure.cli.{found[0]}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(perdure.__version__, prog_name="perdure", message="%(prog)s %(version)s")
def cli() -> None:
    """Durable execution in a process, on a disk, or over the wire."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command of a command line; ends the process with its exit code."""
    try:
        code = cli.main(arguments, prog_name="perdure", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)
