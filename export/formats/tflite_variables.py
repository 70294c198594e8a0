"""Variables of a TFLite file, as streaming networks have them, become states of the graph.

A run reads the value that the last run assigned. So the first READ_VARIABLE of a variable is an input of the graph, the
last ASSIGN_VARIABLE an output, and a read behind an assignment is the assigned tensor itself. Values before the first
run are those that the graph of a CALL_ONCE assigns. A variable that is never assigned is a constant, one that is
never read is left out. Refuses variables without a first value, values that are computed before the first run, and
values whose type, shape or scale is not that of the variable.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tinyscene.runtime.tflite_options import VarHandleOptions, named_graphs

from ..errors import ExportError

if TYPE_CHECKING:
    from .tflite_file import Operator, TfliteFile

ONCE = "CALL_ONCE"
_HANDLE, _READ, _ASSIGN = "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"
OF_VARIABLES = (_HANDLE, _READ, _ASSIGN, ONCE)  # operators without a reader of their own
_STEP = "convert with variables that are assigned constants once, and then by each run"
Key = tuple[str, str]  # container and name, by which a variable is the same in every graph
Values = npt.NDArray[np.generic]


@dataclass(frozen=True, eq=False)
class Variable:
    """A variable that runs read and assign: numbers of the tensors, and its value before the first run."""

    read: int
    assigned: int
    initial: Values


def take_variables(file: TfliteFile) -> tuple[Variable, ...]:
    """Remove the operators of variables from the file's main graph, and return those that are states.

    Raises:
        ExportError: see the module's refusals.
    """
    if not any(op.kind in (_HANDLE, ONCE) for op in file.operators):
        return ()
    return _Removal(file).variables()


class _Removal:
    """One pass over the operators in their order."""

    def __init__(self, file: TfliteFile) -> None:
        self._file = file
        self._keys: dict[int, Key] = {}  # of the variable by the number of its handle's tensor
        self._initial: dict[Key, Values] = {}
        self._read: dict[Key, int] = {}
        self._assigned: dict[Key, int] = {}
        self._same: dict[int, int] = {}  # results of later reads: the tensor with this value
        self._left: list[Operator] = []

    def variables(self) -> tuple[Variable, ...]:
        file, rows = self._file, {_HANDLE: self._handle, _READ: self._read_one, _ASSIGN: self._assign, ONCE: self._once}
        for operator in file.operators:
            rows.get(operator.kind, self._keep)(operator)
        file.operators = self._left
        file.outputs = [self._same.get(index, index) for index in file.outputs]
        for key in self._read.keys() - self._assigned.keys():
            file.computed[self._read[key]] = self._initial[key]
        return tuple(
            Variable(read, self._assigned[key], self._initial[key])
            for key, read in self._read.items()
            if key in self._assigned
        )

    def _keep(self, operator: Operator) -> None:
        self._left.append(replace(operator, inputs=tuple(self._same.get(index, index) for index in operator.inputs)))

    def _handle(self, operator: Operator) -> None:
        self._keys[operator.output] = _key(operator)

    def _once(self, operator: Operator) -> None:
        if self._assigned:
            raise self._refusal(operator, "limit: a variable is assigned before its first value")
        for number in named_graphs(operator.options):
            self._initial |= self._first_values(operator, self._file.other(number))

    def _first_values(self, operator: Operator, graph: TfliteFile) -> dict[Key, Values]:
        keys, values = {}, {}
        for op in graph.operators:
            if op.kind == _HANDLE:
                keys[op.output] = _key(op)
                continue
            value = graph.constant(op.inputs[1]) if op.kind == _ASSIGN and _names_variable(op, keys, 2) else None
            if value is None:
                what = "limit: the graph that runs once does more than assign constants"
                raise self._refusal(operator, what, got=f"operator {op.index} ({op.kind})")
            values[keys[op.inputs[0]]] = value
        return values

    def _read_one(self, operator: Operator) -> None:
        key, result = self._key(operator, 1), operator.output
        earlier = self._assigned.get(key, self._read.get(key))
        if earlier is not None:
            self._require_same(operator, earlier, result)
            self._same[result] = earlier
            return
        self._read[key] = result
        initial = self._initial.get(key)
        if initial is None:
            raise self._refusal(operator, "limit: a variable without a first value", got=f"'{key[1]}'")
        file, shape = self._file, self._file.shape(result)
        if initial.shape != shape or initial.dtype.name != file.type(result):
            expected, got = f"{file.type(result)} {shape}", f"{initial.dtype.name} {initial.shape}"
            raise self._refusal(operator, "first value of the variable", expected=expected, got=got)

    def _assign(self, operator: Operator) -> None:
        key = self._key(operator, 2)
        value = self._same.get(operator.inputs[1], operator.inputs[1])
        if key in self._read:
            self._require_same(operator, self._read[key], value)
        self._assigned[key] = value

    def _key(self, operator: Operator, inputs: int) -> Key:
        if not _names_variable(operator, self._keys, inputs):
            raise self._refusal(operator, "its variable has no handle", got=operator.inputs)
        return self._keys[operator.inputs[0]]

    def _require_same(self, operator: Operator, one: int, other: int) -> None:
        """Refuse values whose codes would stand for other numbers in the next run."""
        file = self._file
        kinds = [(file.type(index), file.shape(index), file.quant(index)) for index in (one, other)]
        if kinds[0] != kinds[1]:
            what = "limit: a variable's value has another type, shape or scale than the variable"
            expected, got = (f"{kind} {shape}, {quant}" for kind, shape, quant in kinds)
            raise self._refusal(operator, what, expected=expected, got=got)

    def _refusal(self, operator: Operator, what: str, *, expected: object = None, got: object = None) -> ExportError:
        where = f"{self._file.where}, operator {operator.index} ({operator.kind})"
        return ExportError(where, what, expected=expected, got=got, next_step=_STEP)


def _key(operator: Operator) -> Key:
    options = operator.options
    return (options.container, options.shared_name) if isinstance(options, VarHandleOptions) else ("", "")


def _names_variable(operator: Operator, keys: dict[int, Key], inputs: int) -> bool:
    return len(operator.inputs) == inputs and min(operator.inputs) >= 0 and operator.inputs[0] in keys
