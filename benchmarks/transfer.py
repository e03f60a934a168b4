"""Transfer learning in figures: the digits 5 to 9 from few images each, with and without a source run on 0 to 4.

    python benchmarks/transfer.py --root MNIST [--per-class 50] [--seeds 5] [--epochs 5]

Writes a Markdown table: test accuracy on all test images of 5 to 9, mean ± standard error over the seeds, and the
difference from training from scratch, paired by seed. Every way sees the same training images.
"""

import argparse
import tempfile
from pathlib import Path

from lenumba.engine.config.config import load_config
from lenumba.engine.runs.compare import compare
from lenumba.engine.runs.figures import CompareHooks, Figure
from lenumba.engine.runs.run import start_run

UNFREEZE = {"network.layers.0.trainable": True, "network.layers.2.trainable": True}


def train_source(root: str, seed: int, epochs: int, folder: Path) -> float:
    """Train LeNet on the digits 0 to 4 in `folder`; return its test accuracy."""
    changes = {"data.root": root, "data.classes": [0, 1, 2, 3, 4], "network.layers.6.units": 5}
    changes |= {"train.seed": seed, "train.epochs": epochs}
    return start_run(load_config("lenet", changes), out=folder).test_accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", required=True, help="folder with MNIST's files")
    parser.add_argument("--per-class", type=int, default=50, help="training images of each of the digits 5 to 9")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5, help="of the source; the others are those of lenet-transfer")
    options = parser.parse_args()

    accuracies: dict[str, list[float]] = {}
    sources = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            run = Path(folder, f"source-{seed}")
            sources.append(train_source(options.root, seed, options.epochs, run))
            ways = {
                "from scratch": {**UNFREEZE, "optimizer.learning_rate": 5e-3},  # as lenet, and the better one here
                "from scratch, learning rate 2e-3": UNFREEZE,
                "random filters, frozen": {},
                "transfer, filters frozen": {"init_from": str(run)},
                "transfer, all layers trained": {"init_from": str(run), **UNFREEZE},
            }
            common = {"data.root": options.root, "data.samples_per_class": options.per_class, "train.seed": seed}
            for name, changes in ways.items():
                (found,) = compare(["lenet-transfer"], {**common, **changes}, 1, CompareHooks())
                accuracies.setdefault(name, []).append(found.test_accuracy.mean)
                print(f"seed {seed}, {name}: {100 * accuracies[name][-1]:.2f} %", flush=True)

    print(f"\nsource on 0 to 4: test accuracy {percent(sources)} %\n")
    print("| training on 5 to 9 | test accuracy (%) | difference from scratch (points) |")
    print("|---|---|---|")
    scratch = accuracies["from scratch"]
    for name, values in accuracies.items():
        paired = percent([value - base for value, base in zip(values, scratch, strict=True)])
        print(f"| {name} | {percent(values)} | {'–' if values is scratch else paired} |")


def percent(values: list[float]) -> str:
    """Write shares as percent, mean ± standard error."""
    figure = Figure.of(values)
    return f"{100 * figure.mean:.2f}" + ("" if figure.error is None else f" ± {100 * figure.error:.2f}")


if __name__ == "__main__":
    main()
