"""The hidden layers of a usual network, as recipes write them, for those who give none."""

from typing import Any

CONV = {"type": "conv", "padding": "same", "activation": "relu"}


def image_layers(height: int, width: int, channels: int) -> list[Any]:
    """Return the hidden layers for images; images of one row are tables."""
    hidden = ["flatten", {"type": "dense", "units": 64, "activation": "relu"}]
    if min(height, width) < 4:
        return hidden
    small = min(height, width) < 16
    blocks = [(16, 3)] if small else [(8, 5), (16, 5)]
    return [
        layer
        for maps, size in blocks
        for layer in ({**CONV, "channels": maps, "kernel_size": size}, {"type": "max_pool", "size": 2, "stride": 2})
    ] + hidden


def signal_layers(length: int) -> list[Any]:
    """Return the hidden layers for signals: convolutions while they are long enough, each of which halves them."""
    layers: list[Any] = []
    for maps in (16, 24, 32):
        if length >= 8:
            layers.append({**CONV, "channels": maps, "kernel_size": 5, "stride": 2})
            length = -(-length // 2)
    return [*layers, "flatten", {"type": "dense", "units": 64, "activation": "relu"}]
