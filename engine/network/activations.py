"""The activation functions, in one table: kernels and their twins, equations, ONNX operator, JavaScript."""

from dataclasses import dataclass
from typing import Annotated

from lenumba.engine.network.tables import NameIn, Operator
from lenumba.kernels.program.catalogue import TABLES, Kernel


@dataclass(frozen=True)
class Function:
    """An activation function.

    Attributes
    ----------
    name
        Its name in configurations, and its kernel's; the derivative's kernel, which computes f′ from y = f(x) or from
        x, is called ``<name>_derivative``.
    onnx
        Its operator.
    equations
        y in terms of x, and f′ in terms of y or x.
    javascript
        The same two as functions of a number; the second is given y and x.
    module, twins
        The modules that hold the kernels and their plain-loop twins of the same names (see
        :class:`lenumba.kernels.program.catalogue.Kernel`).
    cheap
        Whether it takes so few registers that a convolution's tile leaves them.
    elementwise
        Whether each value stands alone; else only a loss's kernel computes it, for the last layer.
    from_input
        Whether f′ is computed from x, because y does not tell it: then training keeps x beside y.
    c
        y as a C expression of the float x; empty where no C can be written for it.
    """

    name: str
    onnx: Operator
    equations: tuple[str, str] = ("", "")
    javascript: tuple[str, str] = ("", "")
    module: str = ".activation"
    twins: str = ".steps"
    cheap: bool = False
    elementwise: bool = True
    from_input: bool = False
    c: str = ""

    def kernels(self) -> dict[str, Kernel]:
        """Return the catalogue's rows of its kernels."""
        names = (self.name, f"{self.name}_derivative") if self.elementwise else ()
        return {name: Kernel(self.module, f"{self.twins}.{name}") for name in names}


TABLE = (
    Function("none", Operator("Identity"), ("y = x", "1"), ("(x) => x", "(y) => 1"), c="x"),
    Function(
        "relu",
        Operator("Relu"),
        ("y = max(x, 0)", "1 where y > 0, else 0"),
        ("(x) => (x > 0 ? x : 0)", "(y) => (y > 0 ? 1 : 0)"),
        c="x > 0.0f ? x : 0.0f",
        cheap=True,
    ),
    Function(
        "leaky_relu",
        Operator("LeakyRelu", {"alpha": 0.01}),
        ("y = x where x > 0, else x/100", "1 where y > 0, else 1/100"),
        ("(x) => (x > 0 ? x : 0.01 * x)", "(y) => (y > 0 ? 1 : 0.01)"),
        c="x > 0.0f ? x : 0.01f * x",
        cheap=True,
    ),
    Function(
        "relu6",
        Operator("Clip", constants={"min": 0.0, "max": 6.0}),
        ("y = min(max(x, 0), 6)", "1 where 0 < y < 6, else 0"),
        ("(x) => Math.min(Math.max(x, 0), 6)", "(y) => (y > 0 && y < 6 ? 1 : 0)"),
        c="x < 0.0f ? 0.0f : x > 6.0f ? 6.0f : x",
        cheap=True,
    ),
    Function("tanh", Operator("Tanh"), ("y = tanh x", "1 − y²"), ("Math.tanh", "(y) => 1 - y * y"), c="tanhf(x)"),
    Function(
        "sigmoid",
        Operator("Sigmoid"),
        ("y = 1/(1 + e⁻ˣ)", "y·(1 − y)"),
        ("sigmoid", "(y) => y * (1 - y)"),
        c="1.0f / (1.0f + expf(-x))",
    ),
    Function(
        "silu",
        Operator("Mul", beside=Operator("Sigmoid")),
        ("y = x·σ(x), σ(x) = 1/(1 + e⁻ˣ)", "σ(x)·(1 + x·(1 − σ(x)))"),
        ("(x) => x * sigmoid(x)", "(y, x) => sigmoid(x) * (1 + x * (1 - sigmoid(x)))"),
        c="x / (1.0f + expf(-x))",
        from_input=True,
    ),
    Function(
        "hard_swish",
        Operator("Mul", beside=Operator("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5})),
        ("y = x·min(max(x + 3, 0), 6)/6", "0 where x ≤ −3, 1 where x ≥ 3, else x/3 + 1/2"),
        ("(x) => (x * Math.min(Math.max(x + 3, 0), 6)) / 6", "(y, x) => (x <= -3 ? 0 : x >= 3 ? 1 : x / 3 + 0.5)"),
        c="x <= -3.0f ? 0.0f : x >= 3.0f ? x : x * (x + 3.0f) / 6.0f",
        from_input=True,
    ),
    Function("softmax", Operator("Softmax", {"axis": 1}), elementwise=False),
)
ACTIVATIONS = {function.name: function for function in TABLE}
TABLES.append(ACTIVATIONS)
ActivationName = Annotated[str, NameIn(ACTIVATIONS)]
