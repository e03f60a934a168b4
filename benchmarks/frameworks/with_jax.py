"""JAX: one jitted step that takes the batch from the images on the device, with its buffers donated."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .job import BETAS, EPSILON, MOMENTUM, Job, flat_to_nhwc, map_shapes, starts


def forward(layers: list[tuple[str, dict]], weights: dict, x: jax.Array) -> jax.Array:
    """Return the logits of x[N, H, W, C], the layout that XLA prefers on a CPU."""
    for name, layer in layers:
        if layer["type"] == "conv":
            border = (layer["padding"], layer["padding"])
            kernel = weights[f"{name}.kernel"]
            x = lax.conv_general_dilated(
                x, kernel, (1, 1), (border, border), dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            x = x + weights[f"{name}.bias"]
        elif layer["type"] == "dense":
            x = x @ weights[f"{name}.kernel"] + weights[f"{name}.bias"]
        elif layer["type"] == "flatten":
            x = x.reshape(len(x), -1)
        else:
            window = (1, layer["size"], layer["size"], 1)
            if layer["type"] == "average_pool":
                x = lax.reduce_window(x, 0.0, lax.add, window, window, "VALID") / layer["size"] ** 2
            else:
                x = lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")
        if layer.get("activation") == "relu":
            x = jax.nn.relu(x)
    return x


def update(optimizer: str, rate: float, weights: dict, state: dict, gradients: dict) -> tuple[dict, dict]:
    """Return the new weights and state: SGD with momentum, or AdamW without decay, as PyTorch defines them."""
    tree = jax.tree.map
    if optimizer == "sgd":
        state = {"v": tree(lambda v, g: MOMENTUM * v + g, state["v"], gradients)}
        return tree(lambda w, v: w - rate * v, weights, state["v"]), state
    (b1, b2), t = BETAS, state["t"] + 1
    m = tree(lambda m, g: b1 * m + (1 - b1) * g, state["m"], gradients)
    v = tree(lambda v, g: b2 * v + (1 - b2) * g * g, state["v"], gradients)
    size, root = rate / (1 - b1**t), jnp.sqrt(1 - b2**t)
    weights = tree(lambda w, m, v: w - size * m / (jnp.sqrt(v) / root + EPSILON), weights, m, v)
    return weights, {"m": m, "v": v, "t": t}


class Peer:
    """Each step is one compiled call: slice, forward, loss, backward, update. The calls are not waited for."""

    def __init__(self, job: Job) -> None:
        self.job, self.layers = job, job.named_layers()
        self.images = jnp.asarray(job.take_float_images((0, 2, 3, 1)))
        self.labels = jnp.asarray(job.labels.astype(np.int32))
        self.initial = self.transposed(job)

        def loss_of(weights: dict, x: jax.Array, y: jax.Array) -> jax.Array:
            logits = forward(self.layers, weights, x)
            return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean()

        def batch_of(array: jax.Array, start: int, batch: int) -> jax.Array:
            return lax.dynamic_slice_in_dim(array, start, batch)

        @functools.partial(jax.jit, static_argnums=5, donate_argnums=(0, 1))
        def step(weights: dict, state: dict, images: jax.Array, labels: jax.Array, start: int, batch: int) -> tuple:
            x, y = batch_of(images, start, batch), batch_of(labels, start, batch)
            loss, gradients = jax.value_and_grad(loss_of)(weights, x, y)
            return *update(job.optimizer, job.rate, weights, state, gradients), loss

        @functools.partial(jax.jit, static_argnums=3)
        def answer(weights: dict, images: jax.Array, start: int, batch: int) -> jax.Array:
            return jax.nn.softmax(forward(self.layers, weights, batch_of(images, start, batch)))

        self.step, self.answer = step, answer

    @staticmethod
    def transposed(job: Job) -> dict[str, np.ndarray]:
        """Return the weights as JAX wants them: [height, width, input maps, maps] and [inputs, outputs]."""
        weights = dict(job.weights)
        maps = None
        for (name, layer), shape in zip(job.named_layers(), map_shapes(job), strict=True):
            if layer["type"] == "conv":
                weights[f"{name}.kernel"] = weights[f"{name}.kernel"].transpose(2, 3, 1, 0)
            elif layer["type"] == "flatten":
                maps = shape
            elif layer["type"] == "dense":
                kernel = weights[f"{name}.kernel"]
                weights[f"{name}.kernel"] = (flat_to_nhwc(kernel, maps) if maps else kernel).T
                maps = None
        return weights

    def reset(self) -> None:
        """Go back to the initial weights and an empty optimiser state."""
        self.weights = {name: jnp.array(value) for name, value in self.initial.items()}
        empty = {name: jnp.zeros_like(value) for name, value in self.weights.items()}
        self.state = {"v": empty}
        if self.job.optimizer == "adamw":
            self.state |= {"m": jax.tree.map(jnp.zeros_like, empty), "t": jnp.zeros(())}

    def losses(self, steps: int, batch: int) -> list[float]:
        """Return each step's mean loss."""
        losses = []
        for start in starts(steps, batch, len(self.labels)):
            self.weights, self.state, loss = self.step(self.weights, self.state, self.images, self.labels, start, batch)
            losses.append(loss)
        return [float(loss) for loss in losses]

    def train(self, steps: int, batch: int) -> None:
        """Train on one batch after the other and wait for the last one."""
        for start in starts(steps, batch, len(self.labels)):
            self.weights, self.state, loss = self.step(self.weights, self.state, self.images, self.labels, start, batch)
        jax.block_until_ready(loss)

    def infer(self, steps: int, batch: int) -> None:
        """Answer one request of `batch` images after the other, with probabilities as NumPy arrays."""
        for start in starts(steps, batch, len(self.labels)):
            np.asarray(self.answer(self.weights, self.images, start, batch))
