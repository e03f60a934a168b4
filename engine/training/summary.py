"""What a network consists of: per layer shapes, parameters, multiply-adds and memory; as values and as text."""

from collections.abc import Mapping
from html import escape
from typing import Any

from lenumba.engine.common.html import heading_html, table_html
from lenumba.engine.common.text import table
from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.training.build import check_network, network_notes
from lenumba.kernels.program.plan import shape_text

HANDOUT_NOTE = (
    "The handout lists 4·5·5 + 4 + 24·5·5 + 6 + 50·96 + 50 + 10·50 + 10 parameters and prints the sum as 6170; "
    "its terms add up to 6070, which is what this network has. More slips and their corrections: docs/handout.md."
)


class Summary(dict[str, Any]):
    """A network's summary, as :func:`summarize` gives it; printed and in a notebook, a table."""

    def __str__(self) -> str:
        return summary_table(self)

    def _repr_html_(self) -> str:
        header, rows = summary_rows(self)
        notes = "".join(f"<p>{escape(note)}</p>" for note in self["notes"])
        return heading_html(self["name"], {"loss": self["loss"]}) + table_html(header, rows, left=2) + notes


def summarize(loaded: LoadedConfig, image_shape: tuple[int, int, int] | None = None) -> Summary:
    """Return a network's summary, for images of (height, width, channels); without these, for those that are stated.

    Returns
    -------
    dict
        ``layers``: name, type, form (how it is computed, where that is not its definition), output_shape [H, W, C],
        parameters (by tensor and in all), multiply_adds of one image's forward pass, activation_bytes of one image
        (float32); ``notes``: what to know; the totals, and how many parameters are ``trainable``.

    Raises
    ------
    ConfigError
        Where a layer does not fit, or the outputs do not fit the data set.
    """
    network = check_network(loaded, image_shape)
    layers: list[dict[str, Any]] = []
    for number, unit in enumerate(network.units):
        here, there = network.layout.tensors[number : number + 2]
        channels, height, width = unit.output
        layers.append(
            {
                "name": unit.name,
                "type": unit.layer.kind,
                "form": unit.layer.form,
                "output_shape": [height, width, channels],
                "output": shape_text(*unit.output),
                "tensors": {parameter.name: list(parameter.shape) for parameter in unit.parameters},
                "terms": {parameter.name: size_of(parameter.shape) for parameter in unit.parameters},
                "parameters": unit.parameter_count,
                "multiply_adds": unit.multiply_adds,
                "activation_bytes": 0 if here.start == there.start else 4 * there.size,
            }
        )
    totals = {key: sum(layer[key] for layer in layers) for key in ("parameters", "multiply_adds", "activation_bytes")}
    summary = Summary(
        {
            "name": loaded.name,
            "input_shape": list(network.image_shape),
            "loss": network.loss.name,
            "layers": layers,
            "notes": network_notes(network),
            **totals,
            "trainable": network.trainable_count,
        }
    )
    if network.trainable_count < network.parameter_count:
        rest = "frozen, or running statistics of a batch norm"
        summary["notes"].append(f"trainable parameters: {network.trainable_count:,}; the others are {rest}")
    if forms := [f"{layer['name']} by {layer['form']}" for layer in layers if layer["form"]]:
        summary["notes"].append(f"fast convolution: {', '.join(forms)}; network.convolution=direct goes without")
    terms = [size for layer in layers for size in layer["terms"].values()]
    if terms == [100, 4, 600, 6, 4800, 50, 500, 10]:
        summary["notes"].append(HANDOUT_NOTE)
    return summary


def size_of(shape: tuple[int, ...]) -> int:
    """Return the number of values in a tensor of `shape`."""
    size = 1
    for extent in shape:
        size *= extent
    return size


def summary_table(summary: Mapping[str, Any]) -> str:
    """Return a network's layers with shapes, parameters, multiply-adds and memory, as text."""
    text = table(*summary_rows(summary), left=2)
    text += f"\n\nloss: {summary['loss']}; multiply-adds and bytes are those of one image's forward pass"
    return "\n".join([text, *summary["notes"]])


def summary_rows(summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a network's table."""
    rows = [["input", "", "×".join(map(str, summary["input_shape"])), "", "", ""]]
    for layer in summary["layers"]:
        terms = " + ".join(str(size) for size in layer["terms"].values())
        parameters = f"{layer['parameters']:,}" if layer["parameters"] else ""
        work = f"{layer['multiply_adds']:,}" if layer["multiply_adds"] else ""
        memory = f"{layer['activation_bytes']:,}" if layer["activation_bytes"] else ""
        rows.append([layer["name"], terms, layer["output"], parameters, work, memory])
    totals = [f"{summary[key]:,}" for key in ("parameters", "multiply_adds", "activation_bytes")]
    rows.append(["total", "", "", *totals])
    return ["layer", "weights + biases", "output", "parameters", "multiply-adds", "activation bytes"], rows
