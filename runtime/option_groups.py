"""The signatures of commands: options that travel as frozen records, and parameters that are not options.

:func:`grouped` turns each field of a record into one option; :func:`bound` gives a command what it cannot import.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import TypeVar, get_type_hints

Result = TypeVar("Result")


def grouped(command: Callable[..., Result]) -> Callable[..., Result]:
    """Replace every parameter of ``command`` that is a dataclass by one command-line option per field of it.

    The fields are annotated as options of Typer; the record is created from the values that Typer passes.
    """
    hints = get_type_hints(command, include_extras=True)
    records: dict[str, type] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        hint = hints[parameter.name]
        if is_dataclass(hint) and isinstance(hint, type):
            records[parameter.name] = hint
            parameters += _parameters_of(hint)
        else:
            parameters.append(parameter.replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(command)
    def expanded(**values: object) -> Result:
        for name, record in records.items():
            values[name] = record(**{field.name: values.pop(field.name) for field in fields(record)})
        return command(**values)

    expanded.__dict__["__signature__"] = inspect.Signature(parameters)
    expanded.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return expanded


def bound(command: Callable[..., Result], **values: object) -> Callable[..., Result]:
    """The command with these parameters given, which then are no options."""
    hints = get_type_hints(command, include_extras=True)
    parameters = [
        each.replace(annotation=hints[each.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for each in inspect.signature(command).parameters.values()
        if each.name not in values
    ]

    @functools.wraps(command)
    def given(**options: object) -> Result:
        return command(**values, **options)

    given.__dict__["__signature__"] = inspect.Signature(parameters)
    given.__annotations__ = {each.name: each.annotation for each in parameters}
    return given


def _parameters_of(record: type) -> list[inspect.Parameter]:
    hints = get_type_hints(record, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(record)
    ]
