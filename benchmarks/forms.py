"""Measure each form of a convolution beside direct convolution, and from which sizes on it pays."""

import argparse
from dataclasses import replace
from typing import Any

from common import arguments_of, finish, lenumba_network, lenumba_optimizer, markdown_table, report_of

from kernels import Piece, buffers, list_pieces, peak_source, runner, source_of, time_all

# Channels, maps, kernel, height and width of the result: networks' own, and a row of sizes around where forms cross.
SHAPES = [
    (1, 4, 5, 24), (1, 16, 5, 24), (4, 6, 5, 8), (6, 16, 5, 10), (16, 16, 5, 14),
    (3, 16, 3, 32), (3, 32, 3, 32), (8, 8, 3, 16), (16, 16, 3, 32), (16, 32, 3, 16), (32, 32, 3, 16), (64, 64, 3, 8),
    (2, 8, 3, 16), (4, 4, 3, 16), (4, 8, 3, 16), (16, 16, 3, 5), (16, 16, 3, 7), (4, 8, 7, 14), (16, 16, 7, 14),
]  # fmt: skip


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.02, help="length of one measurement  [0.02]")
    parser.add_argument("--repeats", type=int, default=9, help="measurements of each, in turn  [9]")
    return arguments_of(parser)


def pieces_of(shape: tuple[int, int, int, int], form: Any) -> tuple[Any, list[Piece]]:
    """Return a network with such a layer in its midst, in a form or directly, and the layer's passes."""
    channels, maps, size, side = shape
    layers = [
        {"type": "conv", "channels": channels, "kernel_size": 1},
        {"type": "conv", "channels": maps, "kernel_size": size, "bias": False, "activation": "relu"},
        {"type": "global_average_pool"},
        {"type": "dense", "units": 2, "activation": "softmax"},
    ]
    image = (side + size - 1, side + size - 1, 1)
    network = lenumba_network("form", layers, image, convolution="direct")
    if form:
        place = next(k for k, unit in enumerate(network.units) if unit.name == "conv2")
        unit = network.units[place]
        network.units[place] = replace(unit, layer=form(**dict(unit.layer)))
    pieces = list_pieces(network, lenumba_optimizer("sgd", 1e-3))
    return network, [
        piece for piece in pieces if piece.step.layer == "conv2" and (piece.flops or "clear" in piece.name)
    ]


def measure(shape: tuple[int, int, int, int], args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the times of one layer, directly and in every form that fits: forward, and the gradients."""
    from lenumba.engine.network.layers.forms import FORMS, fastest
    from lenumba.kernels.compile.native import get_program
    from lenumba.kernels.compile.target import vector_registers

    optimizer, runs, where, layers = lenumba_optimizer("sgd", 1e-3), {}, {}, {}
    peak, chains = peak_source(vector_registers())
    direct = next(unit for unit in pieces_of(shape, None)[0].units if unit.name == "conv2")
    fitting = [form for form in FORMS if form(**dict(direct.layer)).fits(direct.shape)]
    for form in (None, *fitting):
        network, pieces = pieces_of(shape, form)
        layers[form] = next(unit.layer for unit in network.units if unit.name == "conv2")
        arrays = buffers(network, optimizer)
        runs["peak"] = runner(get_program(peak), arrays)
        for number, piece in enumerate(pieces):
            name = f"{form} {number}"
            runs[name] = runner(get_program(source_of(piece, network, optimizer)), arrays)
            where[name] = (form, piece.step.phase)
    times = time_all(runs, args.seconds, args.repeats)
    taken = {(form, phase): 0.0 for form in layers for phase in ("forward", "backward")}
    for name, place in where.items():
        taken[place] += times[name]
    work, chosen = 32 * direct.multiply_adds, type(fastest(direct.layer, direct.shape))
    return [
        {
            "shape": shape, "peak": 32 * chains / times["peak"] / 1e9, "form": layers[form].form,
            "direct": [taken[None, phase] for phase in ("forward", "backward")],
            "fast": [taken[form, phase] for phase in ("forward", "backward")],
            "gflops": 3 * work / (taken[form, "forward"] + taken[form, "backward"]) / 1e9,
            "estimate": layers[form].cost(direct.shape), "chosen": form is chosen,
        }
        for form in fitting
    ]  # fmt: skip


def tables(report: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    rows = []
    for row in report["results"]:
        channels, maps, size, side = row["shape"]
        ratios = [direct / fast for direct, fast in zip(row["direct"], row["fast"], strict=True)]
        rows.append(
            [
                f"{channels}→{maps}, {size}×{size}, {side}×{side}", row["form"], *(f"{each:.2f}×" for each in ratios),
                f"{sum(row['direct']) / sum(row['fast']):.2f}×", f"{1 / row['estimate']:.2f}×",
                "yes" if row["chosen"] else "no", f"{row['gflops']:.0f} GFLOP/s",
                f"{100 * row['gflops'] / row['peak']:.0f} %",
            ]
        )  # fmt: skip
    head = ["layer", "form", "forward", "gradients", "together", "estimated", "chosen", "speed", "of the peak"]
    return (
        "Fast convolution, one core, blocks of 16 images: direct convolution's time over each form's, "
        f"as the definition counts work:\n\n{markdown_table(head, rows)}"
    )


def main() -> None:
    args = parse()
    report = report_of("forms", args, [row for shape in SHAPES for row in measure(shape, args)])
    finish(report, tables(report), args)


if __name__ == "__main__":
    main()
