"""Float operators on single elements. A product of a value with a gate of itself is one function (SiLU, hard swish)."""

from __future__ import annotations

from tinyscene.training.models.program import ProgramCall, Value

from .builder import ProgramBuilder, Ref, Row, Trained

_GATES = {"sigmoid": "silu", "hardsigmoid": "hardswish"}


def _pair(b: ProgramBuilder) -> None:
    x, y = b.operand(0), b.operand(1)
    if b.kind == "Mul" and (gated := _gated(b, x, y) or _gated(b, y, x)) is not None:
        b.result(gated)
        return
    name = b.kind.lower()
    if isinstance(x, Ref):
        b.result(b.call(f"{name}.Tensor", x, y))
    elif b.kind in ("Add", "Mul"):
        b.result(b.call(f"{name}.Tensor", y, x))
    elif b.kind == "Sub":
        b.result(b.call("rsub.Tensor", y, x) if not isinstance(x, float) else b.call("rsub.Scalar", y, x))
    else:
        b.result(b.call("mul.Tensor", b.call("reciprocal.default", y), x))


def _gated(b: ProgramBuilder, value: object, gate: object) -> Ref | None:
    """The function x * gate(x), if that is what the operands are."""
    if not isinstance(value, Ref) or not isinstance(gate, Ref):
        return None
    call = b.made_by.get(gate.name)
    if not isinstance(call, ProgramCall) or call.kind not in _GATES or call.args[0] != Value(value=value.name):
        return None
    return b.call(f"{_GATES[call.kind]}.default", value)


def _simple(operator: str) -> Row:
    def row(b: ProgramBuilder) -> None:
        b.result(b.call(operator, b.ref(0)))

    return row


def _clip(b: ProgramBuilder) -> None:
    limits = [
        float(b.constant(position).ravel()[0]) if b.has(position) else b.attribute(name)
        for position, name in ((1, "min"), (2, "max"))
    ]
    if limits == [None, None]:
        b.result(b.ref(0))
        return
    b.result(b.call("clamp.default", b.ref(0), *(None if v is None else float(v) for v in limits)))


def _leaky_relu(b: ProgramBuilder) -> None:
    b.result(b.call("leaky_relu.default", b.ref(0), float(b.attribute("alpha", 0.01))))


def _elu(b: ProgramBuilder) -> None:
    b.result(b.call("elu.default", b.ref(0), float(b.attribute("alpha", 1.0))))


def _hard_sigmoid(b: ProgramBuilder) -> None:
    """PyTorch's has a slope of 1/6 and an offset of 1/2; any other is a line that is limited."""
    alpha, beta = float(b.attribute("alpha", 0.2)), float(b.attribute("beta", 0.5))
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        b.result(b.call("hardsigmoid.default", b.ref(0)))
        return
    line = b.call("add.Tensor", b.call("mul.Tensor", b.ref(0), alpha), beta)
    b.result(b.call("clamp.default", line, 0.0, 1.0))


def _gelu(b: ProgramBuilder) -> None:
    b.result(b.call("gelu.default", b.ref(0), approximate=b.attribute("approximate", b"none").decode()))


def _power(b: ProgramBuilder) -> None:
    exponent = b.operand(1)
    if not isinstance(exponent, float):
        b.refuse("limit: an exponent that is not one number")
    b.result(b.call("pow.Tensor_Scalar", b.ref(0), exponent))


def _prelu(b: ProgramBuilder) -> None:
    x, slope = b.ref(0), b.constant(1)
    channels = x.shape[1] if len(x.shape) > 1 else 1
    if slope.size not in (1, channels) or slope.size != max(slope.shape, default=1):
        b.refuse("limit: slopes of PRelu", expected="one, or one for each channel", got=slope.shape)
    b.result(b.call("prelu.default", x, Trained(slope.reshape(-1), "weight")))


def _extreme(b: ProgramBuilder) -> None:
    """The larger or smaller of two values; of a value and one number, a limit."""
    operands = [b.operand(at) for at in range(b.inputs())]
    x, y = sorted(operands, key=lambda operand: not isinstance(operand, Ref)) if len(operands) == 2 else (None, None)
    if not isinstance(x, Ref):
        b.refuse("limit: Max or Min of other than two values")
    largest = b.kind == "Max"
    if isinstance(y, float):
        b.result(b.call("clamp.default", x, *((y, None) if largest else (None, y))))
    else:
        b.result(b.call("maximum.default" if largest else "minimum.default", x, y))


_SIMPLE = """
    Log:log Reciprocal:reciprocal Floor:floor Ceil:ceil Round:round Sign:sign Tan:tan Asin:asin Acos:acos Sinh:sinh
    Cosh:cosh Asinh:asinh Acosh:acosh Atanh:atanh
    Relu:relu Sigmoid:sigmoid Tanh:tanh HardSwish:hardswish Selu:selu Softplus:softplus Softsign:softsign Exp:exp
    Sqrt:sqrt Abs:abs Neg:neg Sin:sin Cos:cos Atan:atan Erf:erf Mish:mish
"""


ROWS: dict[str, Row] = {
    **{name: _simple(f"{operator}.default") for name, operator in (each.split(":") for each in _SIMPLE.split())},
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _pair),
    **dict.fromkeys(("Max", "Min"), _extreme),
    "Clip": _clip,
    "LeakyRelu": _leaky_relu,
    "Elu": _elu,
    "HardSigmoid": _hard_sigmoid,
    "Gelu": _gelu,
    "Pow": _power,
    "PRelu": _prelu,
}
