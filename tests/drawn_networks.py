"""Random networks: every kind of layer, one by one, each drawn until it fits its input."""

import numpy as np
from harness import make_network

SMALL_BATCHES = (1, 3, 8)
MULTIPLY_ADDS = 150_000  # per image: larger networks only take longer


def pick(rng: np.random.Generator, *choices):
    return choices[rng.integers(len(choices))]


def size_or_pair(rng: np.random.Generator, low: int, high: int):
    return pick(rng, int(rng.integers(low, high + 1)), tuple(int(n) for n in rng.integers(low, high + 1, 2)))


def draw_conv(rng: np.random.Generator) -> dict:
    padding = pick(
        rng, "valid", "same", size_or_pair(rng, 0, 3), tuple(int(border) for border in rng.integers(0, 4, 4))
    )
    return {
        "type": "conv",
        "channels": int(rng.integers(1, 18)),
        "kernel_size": size_or_pair(rng, 1, 5),
        "stride": pick(rng, 1, 1, size_or_pair(rng, 1, 3)),
        "padding": padding,
        "bias": bool(rng.random() < 0.8),
        "orientation": pick(rng, "correlation", "correlation", "convolution"),
        "activation": draw_function(rng),
    }


def draw_pool(rng: np.random.Generator) -> dict:
    if rng.random() < 0.15:
        return {"type": pick(rng, "global_average_pool", "global_max_pool")}
    pool = {"type": pick(rng, "average_pool", "max_pool"), "size": size_or_pair(rng, 1, 3)}
    pool |= {"stride": size_or_pair(rng, 1, 3)} if rng.random() < 0.6 else {}
    pool |= {"padding": size_or_pair(rng, 0, 2)} if rng.random() < 0.4 else {}
    return pool | ({"count_padding": bool(rng.random() < 0.5)} if pool["type"] == "average_pool" else {})


def draw_dense(rng: np.random.Generator) -> dict:
    layer = {"type": "dense", "units": int(rng.integers(1, 34)), "bias": bool(rng.random() < 0.8)}
    return layer | {"activation": draw_function(rng)}


def draw_function(rng: np.random.Generator) -> str:
    return pick(rng, "none", "relu", "leaky_relu", "tanh", "sigmoid")


def draw_activation(rng: np.random.Generator) -> dict:
    return {"type": "activation", "function": draw_function(rng)}


def draw_network(seed: int):
    """Draw layers one by one, each until it fits its input. Every other network is for small batches."""
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 14)), int(rng.integers(1, 14)), int(pick(rng, 1, 1, 3, rng.integers(1, 18))))
    depth = int(rng.integers(1, 7))
    before = int(rng.integers(0, depth))
    makers = [(draw_conv, draw_conv, draw_pool, draw_pool, draw_activation)] * before
    makers += [(draw_dense, draw_activation)] * (depth - 1 - before)
    last = {"type": "dense", "units": int(rng.integers(2, 18)), "activation": "softmax"}
    layers: list[dict] = []
    while len(layers) <= depth:
        here = {"type": "flatten"} if len(layers) == before else last
        if len(layers) < depth and len(layers) != before:
            here = pick(rng, *makers[len(layers) - (len(layers) > before)])(rng)
        rest = [{"type": "flatten"}, last] if len(layers) < before else [] if here is last else [last]
        try:
            network = make_network([*layers, here, *rest], shape, batch_size=SMALL_BATCHES[-1] if seed % 2 else None)
        except ValueError:
            continue
        if network.multiply_adds <= MULTIPLY_ADDS:
            layers.append(here)
    return network, layers
