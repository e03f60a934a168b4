"""The losses, in one table: kernel, final activations, what outputs and labels each one fits, equations, JavaScript."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from lenumba.engine.network.activations import ACTIVATIONS
from lenumba.engine.network.tables import NameIn
from lenumba.kernels.program.catalogue import TABLES, Kernel
from lenumba.kernels.program.counts import loss_bytes

Written = tuple[str, str, str]


@dataclass(frozen=True)
class Loss:
    """A loss, and the kernel that computes it together with its gradient.

    Attributes
    ----------
    name
        Its name in configurations.
    kernel
        Name of its kernel, and of that one's plain-loop twin.
    equations
        ``equations(K, target)``: those of the outputs, the loss L and δ = ∂L/∂z, for K outputs z of the last layer.
    javascript
        A function of the last layer's values z and the targets t that returns the outputs, the loss and dz.
    fused
        The final activation that the kernel computes itself, the only one that it fits; None: every activation that
        is elementwise, as an ordinary layer before it.
    single
        Whether one output is enough for two classes.
    targets
        The kinds of targets (:mod:`lenumba.engine.common.targets`) that it fits.
    each
        The kernel, with its twin beside the other, for targets that are a number for each output.
    spread
        Over how many values label smoothing spreads its share, as a function of the number of outputs; None: labels
        cannot be smoothed.
    module, twins
        The modules that hold the kernel and its twin.
    """

    name: str
    kernel: str
    equations: Callable[[int, str], Written]
    javascript: str
    fused: str | None = None
    single: bool = False
    spread: Callable[[int], int] | None = None
    targets: tuple[str, ...] = ("class",)
    each: str = ""
    module: str = ".loss"
    twins: str = ".steps"

    @property
    def smooths(self) -> bool:
        """Whether labels can be smoothed."""
        return self.spread is not None

    def kernel_for(self, target: str) -> str:
        """Return the kernel for a kind of target."""
        return self.kernel if target == "class" else self.each

    def twin(self, target: str = "class") -> str:
        """Return the twin of the kernel for a kind of target, as the catalogue names it."""
        return f"{self.twins}.{self.kernel_for(target)}"

    def kernels(self) -> dict[str, Kernel]:
        """Return the catalogue's rows of its kernels."""
        found = [name for name in (self.kernel, self.each) if name]
        return {name: Kernel(self.module, f"{self.twins}.{name}", own=loss_bytes) for name in found}

    def fits(self, activation: str, target: str = "class") -> bool:
        """Return whether it fits a final activation and a kind of target."""
        if target not in self.targets:
            return False
        return ACTIVATIONS[activation].elementwise if self.fused is None else self.fused == activation

    def written(self, outputs: int, smoothing: float, weight: float = 1.0) -> Written:
        """Return the equations of the outputs, the loss L, and δ = ∂L/∂z for what the last layer computed, z.

        `weight` is what the loss of the image counts, such as its class's.
        """
        target = "y" if outputs == 1 else "y_k"
        if smoothing and self.spread:
            target = f"({1 - smoothing:g}·{target} + {smoothing:g}/{self.spread(outputs)})"
        answer, *others = self.equations(outputs, target)
        if weight != 1:
            others = [
                f"{name} = {weight:.4g}·({right})" for name, _, right in (text.partition(" = ") for text in others)
            ]
        return answer, others[0], others[1]


def softmax_cross_entropy(outputs: int, target: str) -> Written:
    """Return handout 004's equations."""
    return "S_k = e^z_k / Σ_j e^z_j", f"L = −Σ_k {target}·log S_k", f"δ_k = S_k − {target}"


def sigmoid_cross_entropy(outputs: int, target: str) -> Written:
    """Return handout 000's equations, as a mean over the outputs."""
    mean, over, k = mean_over(outputs)
    return (
        f"a{k} = 1/(1 + e^−z{k})",
        f"L = {mean}−{target}·log a{k} − (1 − {target})·log(1 − a{k})",
        f"δ{k} = (a{k} − {target}){over}" if over else f"δ = a − {target}",
    )


def squared_error(outputs: int, target: str) -> Written:
    """Return the mean squared error's equations."""
    mean, over, k = mean_over(outputs)
    return f"a{k} = z{k}", f"L = {mean}(a{k} − {target})²", f"δ{k} = 2·(a{k} − {target}){over}"


def mean_over(outputs: int) -> Written:
    """Return how equations write a mean over the outputs, its divisor, and an output's index."""
    return (f"1/{outputs} Σ_k ", f"/{outputs}", "_k") if outputs > 1 else ("", "", "")


SOFTMAX_CROSS_ENTROPY = """(z, t) => {
  const high = Math.max(...z), total = z.reduce((sum, value) => sum + Math.exp(value - high), 0);
  const logarithms = z.map((value) => value - high - Math.log(total)), outputs = logarithms.map(Math.exp);
  const loss = -logarithms.reduce((sum, value, k) => sum + t[k] * value, 0);
  return { outputs, loss, dz: outputs.map((p, k) => p - t[k]) };
}"""
SIGMOID_CROSS_ENTROPY = """(z, t) => {
  const outputs = z.map(sigmoid), K = z.length;
  const term = (value, k) => Math.max(value, 0) - value * t[k] + Math.log1p(Math.exp(-Math.abs(value)));
  const loss = z.reduce((sum, value, k) => sum + term(value, k) / K, 0);
  return { outputs, loss, dz: outputs.map((a, k) => (a - t[k]) / K) };
}"""
SQUARED_ERROR = """(z, t) => {
  const loss = z.reduce((sum, value, k) => sum + (value - t[k]) ** 2 / z.length, 0);
  return { outputs: z, loss, dz: z.map((value, k) => (2 * (value - t[k])) / z.length) };
}"""

# Of the losses that fit an activation, "auto" takes the first.
SOFTMAX = (softmax_cross_entropy, SOFTMAX_CROSS_ENTROPY, "softmax", False, lambda outputs: outputs)
SIGMOID = (sigmoid_cross_entropy, SIGMOID_CROSS_ENTROPY, "sigmoid", True, lambda outputs: 2)
TABLE = (
    Loss("sparse_categorical_cross_entropy", "softmax_cross_entropy", *SOFTMAX),
    # Labels are class numbers inside, one-hot ones are converted when they come in: so it is the same kernel.
    Loss("categorical_cross_entropy", "softmax_cross_entropy", *SOFTMAX),
    Loss(
        "binary_cross_entropy",
        "sigmoid_cross_entropy",
        *SIGMOID,
        targets=("class", "labels"),
        each="multilabel_cross_entropy",
    ),
    Loss(
        "mean_squared_error",
        "squared_error",
        squared_error,
        SQUARED_ERROR,
        single=True,
        targets=("class", "numbers", "input"),
        each="regression_squared_error",
    ),
)
LOSSES = {loss.name: loss for loss in TABLE}
TABLES.append(LOSSES)
LossName = Annotated[str, NameIn(LOSSES, "auto")]


def losses_for(activation: str, target: str = "class") -> tuple[str, ...]:
    """Return the losses that fit a final activation and a kind of target, the usual one first."""
    return tuple(name for name, loss in LOSSES.items() if loss.fits(activation, target))


def loss_misfit(name: str, activation: str, target: str = "class") -> str | None:
    """Say in one line why a loss fits neither final activation nor target, or return None; ``auto`` is any that fits.

    Softmax makes one answer of all outputs: it fits a class alone.
    """
    fitting = losses_for(activation, target)
    if name in fitting or (name == "auto" and fitting):
        return None
    if fitting:
        of = "" if target == "class" else f" and data.target = {target}"
        return f"expected {' or '.join(fitting)} for the last activation {activation}{of}, found {name}"
    known = {other: loss for other, loss in LOSSES.items() if target in loss.targets}
    remedies = [f"{loss.fused or 'no activation'} ({other})" for other, loss in known.items()]
    return f"expected {' or '.join(remedies)} in the last layer for data.target = {target}, found {activation}"


def loss_for(name: str, activation: str, target: str = "class") -> Loss:
    """Return the loss called `name`; ``"auto"`` goes by the last layer's activation and the target.

    Raises
    ------
    ValueError
        If it does not fit these.
    """
    if misfit := loss_misfit(name, activation, target):
        raise ValueError(misfit)
    return LOSSES[losses_for(activation, target)[0] if name == "auto" else name]


def fitting_outputs(loss: Loss, classes: int, target: str = "class") -> tuple[int, ...]:
    """Return the numbers of outputs that fit `classes` classes, labels or numbers, the usual one first."""
    return (1, 2) if loss.single and classes == 2 and target == "class" else (classes,)


def outputs_misfit(loss: Loss, outputs: int, classes: int, target: str = "class") -> str | None:
    """Say in one line why a network with `outputs` outputs does not fit `classes` classes, or return None.

    Of other targets, `classes` are the labels or numbers of a sample, or the values of the input.
    """
    if target != "class":
        what = {"input": "one for each value of the input"}.get(target, f"one for each of the {target}")
        remedy = f"give the last layer {classes} units"
        return None if outputs == classes else f"expected {classes} outputs, {what}, found {outputs}; {remedy}"
    fitting = fitting_outputs(loss, classes)
    if outputs in fitting:
        return None
    remedy = f"give the last layer {' or '.join(map(str, fitting))} units"
    if classes == 2 and outputs == 1:
        remedy += ", or end with sigmoid"
    expected = f"{' or '.join(map(str, fitting))} outputs for {classes} classes and {loss.name}"
    return f"expected {expected}, found {outputs}; {remedy}"
