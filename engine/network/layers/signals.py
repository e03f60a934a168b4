"""Layers on signals, which are images of one row: kernels, windows, strides and paddings of one number lie along it."""

from collections.abc import Iterator

from lenumba.engine.network.layers.base import LayerBase

ACROSS = {"kernel_size": 1, "size": 1, "stride": 1, "padding": 0}  # what each field is across the signal


def along(layer: LayerBase) -> LayerBase:
    """Return a layer with every one-number size along the signal alone: a kernel of 5 is one of 1×5."""
    changes: dict[str, object] = {
        field: (across, size)
        for field, across in ACROSS.items()
        if isinstance(size := getattr(layer, field, None), int)
    }
    changes |= {field: tuple(map(along, inner)) for field, inner in layer.inner().items()}
    return layer.model_copy(update=changes) if changes else layer


def signal_misfits(layer: LayerBase) -> Iterator[tuple[str, str]]:
    """Yield the layer's fields that reach across a signal, each with what is wrong about it."""
    for field, across in ACROSS.items():
        size = getattr(layer, field, None)
        if isinstance(size, tuple) and any(extent != across for extent in size[: len(size) // 2]):
            yield field, f"expected one number, along the signal, found {list(size)}; a signal is no image"
    if getattr(layer, "kernel", None) is not None and isinstance(getattr(layer, "kernel_size", None), int):
        yield (
            "kernel_size",
            "expected [1, length] beside given kernels of signals, which have one row, found one number",
        )
