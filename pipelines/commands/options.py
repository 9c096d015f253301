"""Options that commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.errors import EXIT_INTERRUPTED
from pipelines.logs import LogFormat, configure

if TYPE_CHECKING:
    from pipelines.config.settings import Settings

Command = Callable[..., None]
_META = "pipelines.log"
_WORDS = "pipelines.words"


_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs instead of text.")
_profile = click.option("--profile", help="Which [profiles] table of settings.toml applies.")
_data = click.option("--data", type=click.Path(path_type=Path), help="Folder of the output (default: data).")
_config = click.option("--config", type=click.Path(path_type=Path), help="Folder of the YAML files (default: config).")


def on_data(command: Command) -> Command:
    """Which data folder, by which settings; and JSON on request."""
    return _config(_data(_profile(_json(command))))


def on_project(command: Command) -> Command:
    """Which configuration, and JSON on request; for commands that touch no data."""
    return _config(_profile(_json(command)))


def with_json(command: Command) -> Command:
    """JSON on request; for commands that need no project."""
    return _json(command)


def wants_json() -> bool:
    """Whether what is printed is for programs, errors included."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.params.get("as_json"))


class Commands(click.Group):
    """A group whose commands all take the options of the log, which its own help explains.

    Words that it does not understand are an error like any other: as JSON where they ask for it.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Remember all words, for an error in those of a command."""
        ctx.meta[_WORDS] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(EXIT_INTERRUPTED)
        except click.UsageError as error:
            if "--json" not in ctx.meta[_WORDS]:
                raise
            import json

            words = (error.ctx or ctx).command_path
            told = {"kind": "UsageError", "message": error.format_message(), "hint": f"see `{words} --help`"}
            click.echo(json.dumps({"error": {**told, "repeat": "", "exit_code": error.exit_code}}, indent=2))
            ctx.exit(error.exit_code)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add *cmd*; `threadmill -v run` and `threadmill run -v` mean the same."""
        for one in (cmd, *(cmd.commands.values() if isinstance(cmd, click.Group) else ())):
            one.params += log_options(hidden=True)
        super().add_command(cmd, name)


def log_options(*, hidden: bool = False) -> list[click.Parameter]:
    """`-v`, `-q` and `--log-format`, each of which sets the log up anew."""
    shared: dict[str, Any] = {"expose_value": False, "hidden": hidden, "callback": _said}
    verbose = "Say more, step by step: each resource, each request, what libraries say."
    quiet = "Say less: -q leaves warnings in a log and errors in a terminal, -qq errors."
    form = "How the log on standard error looks; auto is text in a terminal, JSON lines elsewhere."
    return [
        click.Option(["-v", "--verbose"], count=True, help=verbose, **shared),
        click.Option(["-q", "--quiet"], count=True, help=quiet, **shared),
        click.Option(["--log-format"], type=click.Choice(["auto", "text", "json"]), help=form, **shared),
    ]


def log_as(settings: Settings) -> None:
    """Let the log look as *settings* say, unless the command line says it."""
    context = click.get_current_context(silent=True)
    if context is not None:
        context.meta.setdefault(_META, {}).setdefault("log_format", settings.log_format)
        _configure(context.meta[_META])


def is_json_wanted() -> bool:
    """Whether programs read standard error: JSON lines were asked for, not just fallen back to."""
    context = click.get_current_context(silent=True)
    return context is not None and context.meta.get(_META, {}).get("log_format") == "json"


def _said(context: click.Context, option: click.Parameter, value: Any) -> Any:
    said = context.meta.setdefault(_META, {})
    if value:
        said[option.name] = said.get(option.name, 0) + value if isinstance(value, int) else value
    _configure(said)
    return value


def _configure(said: dict[str, Any]) -> None:
    form: LogFormat = said.get("log_format", "auto")
    configure(form, louder=said.get("verbose", 0) - said.get("quiet", 0))
