"""The equations of each layer, loss and optimiser, as the handouts write them, with the sizes of the layer at hand.

x is a layer's input and y its output, δ = ∂L/∂y comes from the layer above, δx = ∂L/∂x goes to the one below, Δθ is
the gradient of a parameter θ. Indices count from 0. To add those of a new layer: a function in :data:`EQUATIONS`.
"""

from typing import Any, NamedTuple

from lenumba.engine.network.layers import Shape, pair
from lenumba.engine.network.losses import Loss


class Equations(NamedTuple):
    """What a layer computes: `y` forward, `x` for ∂L/∂x, and by its short name the gradient of each parameter."""

    y: str
    x: str
    gradients: dict[str, str]


ACTIVATIONS = {
    "relu": ("y = max(x, 0)", "δx = δ·f′, f′ = 1 where y > 0, else 0"),
    "leaky_relu": ("y = x where x > 0, else x/100", "δx = δ·f′, f′ = 1 where y > 0, else 1/100"),
    "tanh": ("y = tanh x", "δx = δ·f′, f′ = 1 − y²"),
    "sigmoid": ("y = 1/(1 + e⁻ˣ)", "δx = δ·f′, f′ = y·(1 − y)"),
}


def conv(layer: Any, shape: Shape) -> Equations:
    """Return handout 003's equations, with handout 004's indices where the layer is a true convolution."""
    (top, left, _, _), sizes = layer.margins(shape), pair(layer.kernel_size)
    turned = layer.orientation == "convolution"
    ends = [size - 1 if turned else None for size in sizes]
    strides = pair(layer.stride)
    row, column = place("i", "u", strides[0], top, ends[0]), place("j", "v", strides[1], left, ends[1])
    bias = " + b_m" if layer.bias else ""
    gradients = {"kernel": f"ΔK_mc(u,v) = Σ_i Σ_j δ_m(i,j)·x_c({row}, {column})"}
    if layer.bias:
        gradients["bias"] = "Δb_m = Σ_i Σ_j δ_m(i,j)"
    return Equations(
        f"y_m(i,j) = Σ_c Σ_u Σ_v x_c({row}, {column})·K_mc(u,v){bias}",
        f"δx_c(r,q) = Σ_m Σ δ_m(i,j)·K_mc(u,v), {row} = r, {column} = q",
        gradients,
    )


def average_pool(layer: Any, shape: Shape) -> Equations:
    """Return handout 004's equations."""
    window, size = windows(layer, shape), pair(layer.size)[0] * pair(layer.size)[1]
    adds = "=" if apart(layer) else "+="
    return Equations(f"y_c(i,j) = 1/{size} Σ_u Σ_v x_c({window})", f"δx_c({window}) {adds} 1/{size} δ_c(i,j)", {})


def max_pool(layer: Any, shape: Shape) -> Equations:
    """Return handout 003's equations."""
    window, adds = windows(layer, shape), "=" if apart(layer) else "+="
    return Equations(f"y_c(i,j) = max_uv x_c({window})", f"δx_c({window}) {adds} δ_c(i,j) at the maximum, else 0", {})


def flatten(layer: Any, shape: Shape) -> Equations:
    """Return what flattening does, in words."""
    return Equations("y = all x, map by map, row by row", "δx = δ in the shape of the maps", {})


def dense(layer: Any, shape: Shape) -> Equations:
    """Return handout 004's equations; its W is the transpose of the kernel."""
    gradients = {"kernel": "ΔW_mk = δ_m·x_k"} | ({"bias": "Δb_m = δ_m"} if layer.bias else {})
    return Equations("y_m = Σ_k W_mk·x_k" + (" + b_m" if layer.bias else ""), "δx_k = Σ_m δ_m·W_mk", gradients)


def activation(layer: Any, shape: Shape) -> Equations:
    """Return the function and its derivative."""
    return Equations(*ACTIVATIONS[layer.function], {})


def dropout(layer: Any, shape: Shape) -> Equations:
    """Return what dropout does here: nothing."""
    return Equations("y = x (dropout acts in training alone)", "δx = δ", {})


EQUATIONS = {
    "conv": conv,
    "average_pool": average_pool,
    "max_pool": max_pool,
    "flatten": flatten,
    "dense": dense,
    "activation": activation,
    "dropout": dropout,
}


def place(start: str, offset: str, stride: int, padding: int, end: int | None = None) -> str:
    """Write where a tap of a window lies: i+u, 2i+u−1; with the kernel's last index `end`, rotated: i+4−u."""
    shift = (end or 0) - padding
    text = f"{stride if stride > 1 else ''}{start}"
    if end is not None:
        return text + (f"{'+' if shift > 0 else '−'}{abs(shift)}" if shift else "") + f"−{offset}"
    return f"{text}+{offset}" + (f"−{padding}" if padding else "")


def apart(layer: Any) -> bool:
    """Return whether a pooling's windows do not overlap."""
    return all(stride >= size for stride, size in zip(layer.steps, pair(layer.size), strict=True))


def windows(layer: Any, shape: Shape) -> str:
    """Write the indices of a pooling's window."""
    top, left, _, _ = layer.margins(shape)
    return f"{place('i', 'u', layer.steps[0], top)}, {place('j', 'v', layer.steps[1], left)}"


def loss_equations(loss: Loss, outputs: int, smoothing: float) -> tuple[str, str, str]:
    """Return the equations of the outputs, the loss L, and δ = ∂L/∂z for what the last layer computed, z."""
    target = "y" if outputs == 1 else "y_k"
    if smoothing:
        share = f"{smoothing:g}/{2 if loss.kernel == 'sigmoid_cross_entropy' else outputs}"
        target = f"({1 - smoothing:g}·{target} + {share})"
    mean = f"1/{outputs} Σ_k " if outputs > 1 else ""
    over = f"/{outputs}" if outputs > 1 else ""
    k = "_k" if outputs > 1 else ""
    return {
        "softmax_cross_entropy": (
            "S_k = e^z_k / Σ_j e^z_j",
            f"L = −Σ_k {target}·log S_k",
            f"δ_k = S_k − {target}",
        ),
        "sigmoid_cross_entropy": (
            f"a{k} = 1/(1 + e^−z{k})",
            f"L = {mean}−{target}·log a{k} − (1 − {target})·log(1 − a{k})",
            f"δ{k} = (a{k} − {target}){over}" if over else f"δ = a − {target}",
        ),
        "squared_error": (
            f"a{k} = z{k}",
            f"L = {mean}(a{k} − {target})²",
            f"δ{k} = 2·(a{k} − {target}){over}",
        ),
    }[loss.kernel]


def update_equation(optimizer: Any) -> str:
    """Return the first step of an optimiser, which finds no momentum yet, for its configuration."""
    decay = optimizer.weight_decay
    clip = f"Δθ ← Δθ·min(1, {optimizer.max_norm:g}/‖all Δθ‖); " if optimizer.max_norm else ""
    if optimizer.name == "adamw":
        shrink = f" − η·{decay:g}·θ (no biases)" if decay else ""
        return f"{clip}θ ← θ − η·Δθ/(|Δθ| + {optimizer.epsilon:g}){shrink}"
    gradient = f"(Δθ + {decay:g}·θ (no biases))" if decay else "Δθ"
    ahead = f"{1 + optimizer.momentum:g}·" if optimizer.nesterov else ""
    return f"{clip}θ ← θ − η·{ahead}{gradient}"
