"""The `tinyscene` command: one table of sub-commands, each living in the package that does the work.

A package is imported only when its own sub-command is called (or asked for its help), so that
`tinyscene --help` starts at once and a machine without PyTorch can still run a model.

What it refuses: a failure never ends in a traceback, unless `--debug` is given. It ends in one line on
standard error and exit code 2; an interrupted command ends in 130, one whose reader went away in 141.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer

from . import __version__
from .command_table import COMMANDS, GROUPS, Command
from .runtime.errors import TinysceneError
from .runtime.terminal import set_quiet

USAGE_ERROR = 2
INTERRUPTED = 130
READER_GONE = 141  # as a shell reports a program that SIGPIPE ended
COMPLETING = "_TINYSCENE_COMPLETE"  # set by the shell's completion script
HELP = {"help_option_names": ["-h", "--help"]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: the words after the command's name; those of the process by default.

    Returns:
        What the sub-command said (0, or 1 for a failed verdict), 2 for an error, 130 when interrupted, 141 when
        nobody reads the output any more.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words  # wherever it stands: it says how to fail, not what to do
    words = [word for word in words if word != "--debug"]
    completing = COMPLETING in os.environ
    named = [word for word in (_typed() if completing else words) if not word.startswith("-")]
    command = _called(named)
    if command is not None and command.tflite and any(word.endswith(".tflite") for word in named):
        command = replace(command, target=command.tflite, extra="export")
    if not words or (len(words) == 1 and words[0] in GROUPS and command is None):
        words.append("--help")
    set_quiet(False)
    try:
        if not completing:
            _refuse_misspelt(named)
        application = typer.main.get_command(_application(command))
        _shorten_help(application.params)
        result = application.main(args=words, prog_name="tinyscene", standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        result = INTERRUPTED
    except BrokenPipeError:
        return _reader_gone()
    except SystemExit as ended:  # Typer's own end for a broken pipe, and for completion
        if isinstance(ended.__context__, BrokenPipeError):
            return _reader_gone()
        raise
    except Exception as failure:
        if debug:
            traceback.print_exc()
        if not completing or debug:  # nothing may appear on a line that is being typed
            print(f"error: {_one_line(failure, command)}", file=sys.stderr)
        return USAGE_ERROR
    if result == INTERRUPTED:
        print("interrupted", file=sys.stderr)
    return result if isinstance(result, int) else 0


def _refuse_misspelt(named: Sequence[str]) -> None:
    """A command that is a group too would take a misspelt member for its first argument, and look for such a file."""
    group, word = (*named, "", "")[:2]
    members = [row.name for row in COMMANDS if row.name.startswith(f"{group} ")]
    near = difflib.get_close_matches(f"{group} {word}", members, n=1, cutoff=0.85)
    if near and _called([group]) and f"{group} {word}" not in members and not os.path.exists(word):
        raise TinysceneError(f"{group} {word}", "no such command", expected=near[0], next_step="tinyscene --help")


def _typed() -> list[str]:
    """The words that a shell wants completed, as bash or as the other shells hand them over."""
    return (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")).split()[1:]


def _reader_gone() -> int:
    """What is still to be flushed goes nowhere, so that Python says nothing of it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
    return READER_GONE


def _called(named: Sequence[str]) -> Command | None:
    """Find the row that the words name; the global options take no values, so the first words are the name."""
    return next((row for row in COMMANDS if named[: len(row.name.split())] == row.name.split()), None)


def _application(called: Command | None) -> typer.Typer:
    """Compose the Typer application; only the called command's package is imported."""
    application = typer.Typer(
        help="Acoustic scene classifiers from training to a flashed microcontroller.",
        rich_markup_mode=None,
        context_settings=HELP,
        callback=_global_options,
    )
    groups = {name: typer.Typer(help=summary, rich_markup_mode=None) for name, summary in GROUPS.items()}
    open_group = called.name.partition(" ")[0] if called is not None and " " in called.name else ""
    for row in COMMANDS:
        *group, name = row.name.split()
        parent = groups[group[0]] if group else application
        if called is not None and row.name == called.name:
            parent.command(name, epilog=_members(row.name))(_load(called.target))
        elif row.name != open_group:
            parent.command(name, help=row.summary)(_not_called)
    commands = {row.name for row in COMMANDS} - {open_group}
    for name, group_application in groups.items():
        if name not in commands:
            application.add_typer(group_application, name=name)
    return application


def _shorten_help(options: Sequence[object]) -> None:
    """Typer's help for ``--show-completion`` takes two lines, and the list of commands no longer fits one screen."""
    for option in options:
        if isinstance(option, typer.core.TyperOption) and option.name == "show_completion":
            option.help = "Print the completion script of the current shell."


def _members(group: str) -> str | None:
    """What the help of a command that is a group too says of the others."""
    others = [f"tinyscene {row.name}" for row in COMMANDS if row.name.startswith(f"{group} ")]
    return f"There are also: {', '.join(others)}." if others else None


def _load(target: str) -> Callable[..., Any]:
    module, _, function = target.partition(":")
    loaded: Callable[..., Any] = getattr(importlib.import_module(f"tinyscene.{module}"), function)
    return loaded


def _not_called() -> None:
    raise AssertionError("a sub-command was run that was not recognised beforehand")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tinyscene {__version__}")
        raise typer.Exit


def _global_options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere.")] = False,
) -> None:
    """Options that stand before every sub-command; `main` has read `--debug` already."""


def _one_line(failure: Exception, command: Command | None) -> str:
    """Say in one line what happened and what to do; a sentence for each kind of failure."""
    if isinstance(failure, TinysceneError):
        return str(failure)
    name = f"tinyscene {command.name}" if command else "tinyscene"
    if isinstance(failure, typer.TyperException):
        what = " ".join(failure.format_message().replace("Value error, ", "").split())
        return f"{what.removesuffix('.')}; next: {name} --help"
    if isinstance(failure, ModuleNotFoundError) and failure.name and not _is_ours(failure.name):
        wanted = f"tinyscene[{command.extra}]" if command and command.extra else "tinyscene"
        return f"{name}: needs the Python package {failure.name}, not installed here; next: pip install '{wanted}'"
    if isinstance(failure, OSError) and failure.filename is not None:
        return f"{failure.filename}: {failure.strerror}; next: {name} --debug shows where"
    what = " ".join(f"{type(failure).__name__}: {failure}".split())
    return f"{name}: unexpected {what}; next: run again with --debug and report it, this is a defect of tinyscene"


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == "tinyscene"
