"""Commands that are imported when they are run, so that each command pays for its own imports and no other's.

The list of commands (`--help`) imports none of them: their one line stands in the table, and a test holds it equal to
what the command says of itself.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import click


class LazyCommand(NamedTuple):
    """`module` and `attribute`: where the command is. `line`: what the list of commands says."""

    module: str
    attribute: str
    line: str


class LazyGroup(click.Group):
    """A group with some commands of its own, and others that are not imported yet."""

    def __init__(self, *arguments: Any, lazy: Mapping[str, LazyCommand], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in order."""
        return sorted({*super().list_commands(ctx), *self.lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command itself: now it is imported."""
        if (found := self.lazy.get(cmd_name)) is None:
            return super().get_command(ctx, cmd_name)
        command = getattr(import_module(found.module), found.attribute)
        assert isinstance(command, click.Command)  # noqa: S101 (for the type checker)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does it, and without importing anything."""
        names = self.list_commands(ctx)
        limit = formatter.width - 6 - max(map(len, names))
        rows = []
        for name in names:
            found = self.lazy.get(name)
            command = super().get_command(ctx, name) if found is None else click.Command(name, help=found.line)
            if command is not None and not command.hidden:
                rows.append((name, command.get_short_help_str(limit)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)
