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
    return pick(rng, "none", "relu", "leaky_relu", "tanh", "sigmoid", "relu6", "silu", "hard_swish")


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


def draw_block(rng: np.random.Generator, channels: int, deep: int = 0) -> list[dict]:
    """Draw a convolution, a pooling, a norm, or a residual whose ways end alike."""
    kind = pick(rng, "conv", "conv", "norm", "pool", "residual", "residual")
    if kind == "norm":
        return [
            {
                "type": "batch_norm",
                "momentum": float(pick(rng, 0.1, 0.01, 0.5)),
                "epsilon": float(pick(rng, 1e-5, 1e-3)),
            }
        ]
    if kind == "pool":
        return [{"type": pick(rng, "average_pool", "max_pool"), "size": 3, "stride": 1, "padding": pick(rng, 0, 1)}]
    if kind == "conv" and rng.random() < 0.5:
        layer = draw_conv(rng) | {"norm": pick(rng, "batch", "none")}
        if rng.random() < 0.4:
            groups = int(pick(rng, *(number for number in range(1, channels + 1) if channels % number == 0)))
            return [layer | {"groups": groups, "channels": groups * int(rng.integers(1, 4))}]
        if rng.random() < 0.5:
            del layer["channels"], layer["orientation"]
            layer |= {"type": "depthwise_conv", "multiplier": int(pick(rng, 1, 1, 2, 3))}
        return [layer]
    if kind == "conv":
        return [draw_conv(rng) | {"norm": pick(rng, "batch", "none")}]
    stride, maps = pick(rng, 1, 1, 2), channels
    way = [
        {"type": "conv", "channels": int(rng.integers(1, 7)), "kernel_size": 3, "padding": "same", "stride": stride,
         "norm": pick(rng, "batch", "none"), "activation": draw_function(rng)},
        {"type": "conv", "channels": maps, "kernel_size": pick(rng, 1, 3), "padding": "same",
         "norm": pick(rng, "batch", "none"), "activation": pick(rng, "none", "relu")},
    ]  # fmt: skip
    short: list[dict] = []
    if stride == 2 or rng.random() < 0.3:
        short = [{"type": "conv", "channels": maps, "kernel_size": pick(rng, 1, 3), "padding": "same", "stride": stride,
                  "norm": pick(rng, "batch", "none")}]  # fmt: skip
    elif rng.random() < 0.3 and deep == 0:
        way.append({"type": "residual", "layers": [dict(way[-1])], "activation": draw_function(rng)})
    return [{"type": "residual", "layers": way, "shortcut": short, "activation": draw_function(rng)}]


def draw_graph(seed: int):
    """Draw a network with residuals and norms, block by block, each until it fits its input."""
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(3, 11)), int(rng.integers(3, 11)), int(pick(rng, 1, 3, 5)))
    last = [
        {"type": "flatten"},
        {"type": "dense", "units": int(rng.integers(2, 9)), "norm": pick(rng, "batch", "none")},
    ]
    last.append({"type": "dense", "units": int(rng.integers(2, 6)), "activation": "softmax"})
    layers: list[dict] = [{"type": "conv", "channels": 4, "kernel_size": 3, "padding": 1, "norm": "batch"}]
    channels, depth = 4, int(rng.integers(2, 5))
    while len(layers) < depth:
        here = draw_block(rng, channels)
        try:
            network = make_network([*layers, *here, *last], shape)
        except ValueError:
            continue
        if network.multiply_adds <= MULTIPLY_ADDS:
            layers += here
            channels = next(unit.shape[0] for unit in network.units if unit.layer.kind == "flatten")
    return make_network([*layers, *last], shape), [*layers, *last]
