"""The forms of a convolution, and the one place that decides which a network computes."""

from lenumba.engine.network.layers.base import Shape
from lenumba.engine.network.layers.conv import Conv
from lenumba.engine.network.layers.fast_conv import FastConv
from lenumba.engine.network.layers.toom_conv import ToomConv
from lenumba.engine.network.layers.winograd_conv import WinogradConv

FORMS: list[type[FastConv]] = [WinogradConv, ToomConv]


def fastest(layer: Conv, shape: Shape, slopes: bool = True) -> Conv:
    """Return a layer in the form that is estimated to be the fastest for inputs of a shape, or as it is.

    A function of shapes, and whether ∂L/∂x is needed (`slopes`), alone, never of the machine or of a measurement: so
    the bits are the same everywhere.
    """
    found = [form(**dict(layer)) for form in FORMS]
    found = [each for each in found if each.fits(shape) and each.cost(shape, slopes) <= each.gain]
    return min(found, key=lambda each: each.cost(shape, slopes), default=layer)
