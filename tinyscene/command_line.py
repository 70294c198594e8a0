"""The `tinyscene` command: one table of sub-commands, each implemented in the package that does the work.

A package is imported only when its own sub-command runs or prints its help, so that `tinyscene --help` is quick and a
machine without PyTorch can run a model.

The name of a command is the first word, or the first two words where the table has a row of two: directly after
`firmware`, `train` or `bench`, the name of a sub-command always is the sub-command. A path of that name is written
`./export`; after an option or `--`, a word is an argument.

Refuses unknown and misspelt names. A failure is one line on standard error and exit code 2, with a traceback only under
`--debug`; a command that a signal ended exits with 128 + its number (:mod:`.stop_signals`), one whose output pipe is
closed with 141.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from itertools import dropwhile, takewhile
from typing import Annotated

import typer

from . import __version__, standard_streams, stop_signals
from .command_table import COMMANDS, GROUPS, MODEL_OPENER, Command
from .outputs import guarded
from .runtime.errors import TinysceneError
from .runtime.install_hint import install_hint
from .runtime.option_groups import bound
from .runtime.system_errors import about, cause_in_system, corrected, system_error
from .runtime.terminal import echo, set_quiet

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
        The exit code of the sub-command (0, or 1 for a failed verdict), 2 for an error, 130 for a KeyboardInterrupt,
        141 when the reader of the output is gone.
    """
    standard_streams.prepare()
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words  # allowed anywhere, since it changes how errors are printed and nothing else
    words = [word for word in words if word != "--debug"]
    completing = COMPLETING in os.environ
    name = _name_words(_typed() if completing else words)
    command = _called(name)
    if not words or (len(words) == 1 and words[0] in GROUPS and command is None):
        words.append("--help")
    set_quiet(False)
    try:
        if not completing:
            _refuse_misspelt(name)
            _refuse_empty(words)
        application = typer.main.get_command(_application(command))
        _shorten_help(application.params)
        result = application.main(args=words, prog_name="tinyscene", standalone_mode=False)
        with about("standard output"):
            sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        result = INTERRUPTED
    except BrokenPipeError:
        return _reader_gone()
    except SystemExit as ended:  # raised by Typer for a broken pipe and after completion
        if isinstance(ended.__context__, BrokenPipeError):
            return _reader_gone()
        raise
    except Exception as failure:
        stop_signals.end_if_stopped()  # some libraries replace the exception of a signal by one of their own
        if debug:
            traceback.print_exc()
        if not completing or debug:  # completion must not print into the line that is being typed
            echo(f"error: {_one_line(failure, command)}", err=True)
        standard_streams.discard_pending()
        return USAGE_ERROR
    if result == INTERRUPTED:
        echo("interrupted", err=True)
    standard_streams.discard_pending()
    return result if isinstance(result, int) else 0


def _name_words(words: Iterable[str]) -> list[str]:
    """The words that may name a command: from the first one that is no option up to the next option."""
    return list(takewhile(_is_no_option, dropwhile(lambda word: not _is_no_option(word), words)))


def _is_no_option(word: str) -> bool:
    return not word.startswith("-")


def _called(name: Sequence[str]) -> Command | None:
    """The row with the longest name that the words begin with."""
    rows = [row for row in COMMANDS if list(name[: len(row.name.split())]) == row.name.split()]
    return max(rows, key=lambda row: len(row.name.split()), default=None)


def _members(group: str) -> list[Command]:
    """The sub-commands of a group."""
    return [row for row in COMMANDS if row.name.startswith(f"{group} ")]


def _refuse_misspelt(name: Sequence[str]) -> None:
    """Refuse a misspelt sub-command of a group that is a command as well, which would take the word for a path.

    Raises:
        TinysceneError: the second word resembles a sub-command and is no path.
    """
    group, word = (*name, "", "")[:2]
    members = [row.name for row in _members(group)]
    near = difflib.get_close_matches(f"{group} {word}", members, n=1, cutoff=0.85)
    is_path = os.sep in word or os.path.exists(word)
    if near and _called([group]) and f"{group} {word}" not in members and not is_path:
        raise TinysceneError(f"{group} {word}", "no such command", expected=near[0], next_step="tinyscene --help")


def _refuse_empty(words: Sequence[str]) -> None:
    """Refuse empty words: as a path, an unset variable of a script would stand for the current folder.

    Raises:
        TinysceneError: an argument or the value of an option is empty.
    """
    for before, word in zip(["", *words], words, strict=False):
        option = word.removesuffix("=") if word.startswith("--") and word.endswith("=") else before
        if not word or option != before:
            where = option if option.startswith("-") and option != "--" else "arguments"
            raise TinysceneError(where, "empty text", next_step="give a value, or leave it out")


def _typed() -> list[str]:
    """The words that the shell completes, as bash or as the other shells pass them."""
    return (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")).split()[1:]


def _reader_gone() -> int:
    """The exit code, after redirecting standard output so that Python's final flush of it cannot fail."""
    standard_streams.discard_pending()
    return READER_GONE


def _application(called: Command | None) -> typer.Typer:
    """Compose the Typer application; only the called command's package is imported."""
    application = typer.Typer(
        help="Train, quantise and deploy acoustic scene classifiers.",
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
            parent.command(name, epilog=_sub_command_help(row.name))(_command(called))
        elif row.name != open_group:
            parent.command(name, help=row.summary)(_not_called)
    commands = {row.name for row in COMMANDS} - {open_group}
    for name, group_application in groups.items():
        if name not in commands:
            application.add_typer(group_application, name=name)
    return application


def _shorten_help(options: Sequence[object]) -> None:
    """Leave out ``--show-completion``, which docs/commands.md has, so that the list of commands fits one screen."""
    for option in options:
        if isinstance(option, typer.core.TyperOption) and option.name == "show_completion":
            option.hidden = True


def _sub_command_help(group: str) -> str | None:
    """The last lines of the help of a command that is a group as well."""
    members = _members(group)
    if not members:
        return None
    names, word = ", ".join(f"tinyscene {row.name}" for row in members), members[0].name.split()[1]
    return f"Sub-commands: {names}. A path named {word} is written ./{word}."


def _command(row: Command) -> Callable[..., object]:
    """The function of a row; one that opens models gets the opener, which is imported when it is called."""
    function = _load(row.target)
    if row.opens_models:
        function = bound(function, open_model=lambda path: _load(MODEL_OPENER)(path))
    return guarded(function)


def _load(target: str) -> Callable[..., object]:
    module, _, function = target.partition(":")
    loaded: Callable[..., object] = getattr(importlib.import_module(f"tinyscene.{module}"), function)
    return loaded


def _not_called() -> None:
    raise AssertionError("a sub-command ran that was not recognised before")


def _print_version(given: bool) -> None:
    if given:
        echo(f"tinyscene {__version__}")
        raise typer.Exit


def _global_options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; allowed anywhere.")] = False,
) -> None:
    """Options before every sub-command; `main` has read `--debug` already."""


def _one_line(failure: Exception, command: Command | None) -> str:
    """What happened and what to do next, in one line."""
    if isinstance(failure, TinysceneError):
        return str(corrected(failure))
    name = f"tinyscene {command.name}" if command else "tinyscene"
    if isinstance(failure, typer.TyperException):
        what = " ".join(failure.format_message().replace("Value error, ", "").split())
        return f"{what.removesuffix('.')}; next: {name} --help{_path_hint(command)}"
    if isinstance(failure, ModuleNotFoundError) and failure.name and not _is_ours(failure.name):
        hint = install_hint(command.extra if command else "")
        return f"{name}: needs the Python package {failure.name}, which is not installed; next: {hint}"
    problem = cause_in_system(failure)
    if problem is not None:
        return str(system_error(name if problem.filename is None else _path(problem.filename), problem))
    what = " ".join(f"{type(failure).__name__}: {failure}".split())
    return f"{name}: unexpected {what}; next: run again with --debug and report it, this is a defect of tinyscene"


def _path(name: object) -> str:
    return os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else str(name)


def _path_hint(command: Command | None) -> str:
    """How to name a path that has the name of a sub-command, where such a path exists."""
    group, _, word = command.name.partition(" ") if command else ("", "", "")
    if not word or _called([group]) is None or not os.path.exists(word):
        return ""
    return f", or tinyscene {group} ./{word} for the path {word}"


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == "tinyscene"
