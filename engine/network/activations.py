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
        Its name in configurations, and its kernel's; the derivative's kernel, which computes f′ from y = f(x), is
        called ``<name>_derivative``.
    onnx
        Its operator.
    equations
        y in terms of x, and f′ in terms of y.
    javascript
        The same two as functions of a number.
    module, twins
        The modules that hold the kernels and their plain-loop twins of the same names (see
        :class:`lenumba.kernels.program.catalogue.Kernel`).
    cheap
        Whether it takes so few registers that a convolution's tile leaves them.
    elementwise
        Whether each value stands alone; else only a loss's kernel computes it, for the last layer.
    """

    name: str
    onnx: Operator
    equations: tuple[str, str] = ("", "")
    javascript: tuple[str, str] = ("", "")
    module: str = ".activation"
    twins: str = ".steps"
    cheap: bool = False
    elementwise: bool = True

    def kernels(self) -> dict[str, Kernel]:
        """Return the catalogue's rows of its kernels."""
        names = (self.name, f"{self.name}_derivative") if self.elementwise else ()
        return {name: Kernel(self.module, f"{self.twins}.{name}") for name in names}


TABLE = (
    Function("none", Operator("Identity"), ("y = x", "1"), ("(x) => x", "(y) => 1")),
    Function(
        "relu",
        Operator("Relu"),
        ("y = max(x, 0)", "1 where y > 0, else 0"),
        ("(x) => (x > 0 ? x : 0)", "(y) => (y > 0 ? 1 : 0)"),
        cheap=True,
    ),
    Function(
        "leaky_relu",
        Operator("LeakyRelu", {"alpha": 0.01}),
        ("y = x where x > 0, else x/100", "1 where y > 0, else 1/100"),
        ("(x) => (x > 0 ? x : 0.01 * x)", "(y) => (y > 0 ? 1 : 0.01)"),
        cheap=True,
    ),
    Function("tanh", Operator("Tanh"), ("y = tanh x", "1 − y²"), ("Math.tanh", "(y) => 1 - y * y")),
    Function("sigmoid", Operator("Sigmoid"), ("y = 1/(1 + e⁻ˣ)", "y·(1 − y)"), ("sigmoid", "(y) => y * (1 - y)")),
    Function("softmax", Operator("Softmax", {"axis": 1}), elementwise=False),
)
ACTIVATIONS = {function.name: function for function in TABLE}
TABLES.append(ACTIVATIONS)
ActivationName = Annotated[str, NameIn(ACTIVATIONS)]
