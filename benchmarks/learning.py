"""Measure what augmentation costs, and an epoch of lenet-best beside PyTorch with the same recipe."""

import argparse
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from common import arguments_of, cores, finish, markdown_table, ratio_spread, read_mnist, report_of, spread, timed

RECIPE = "lenet-best"
OFF = {f"augment.{name}": 0 for name in ("shift", "rotation", "scale", "shear", "elastic")}
OFF |= {f"augment.{name}": 0 for name in ("erasing", "noise", "brightness")}
ALL = {"augment.shift": 2, "augment.rotation": 10, "augment.scale": 0.1, "augment.shear": 0.1, "augment.elastic": 1}
ALL |= {"augment.erasing": 0.5, "augment.noise": 0.05, "augment.brightness": 0.1}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="MNIST's four files")
    parser.add_argument("--threads", type=int, default=cores(), help="threads of both  [all]")
    parser.add_argument("--rounds", type=int, default=5, help="epochs of each, in turn  [5]")
    parser.add_argument("--torch-images", type=int, default=20_000, help="images of PyTorch's shorter epoch  [20000]")
    return arguments_of(parser)


class Ours:
    """One epoch at a time, by the trainer itself: augmentation, moving average, schedule."""

    def __init__(self, args: argparse.Namespace, changes: dict[str, Any]) -> None:
        from lenumba.engine.config.config import load_config
        from lenumba.engine.data.selection import load_data
        from lenumba.engine.training.trainer import Trainer

        changes = {"data.root": str(args.data), "train.threads": args.threads, "train.epochs": 10_000, **changes}
        loaded = load_config(RECIPE, changes)
        self.config, self.trainer = loaded.config, Trainer(loaded, load_data(loaded))
        self.images = len(self.trainer.train_indices)
        self.speeds: list[float] = []

    def run(self) -> None:
        """Train one epoch, without validation."""
        progress, end = self.trainer.progress, self.trainer.steps_per_epoch
        seconds = timed(lambda: list(self.trainer.epochs(until=(progress.epoch, end))))
        progress.epoch, progress.batch = progress.epoch + 1, 0
        self.speeds.append(self.images / seconds)


class WithTorch:
    """PyTorch: the batch is distorted at once by affine_grid and grid_sample, the elastic part by a smoothed field."""

    def __init__(self, args: argparse.Namespace, config: Any) -> None:
        import torch

        self.torch, self.augment, self.count = torch, config.augment, args.torch_images
        self.batch, self.smoothing, self.decay = config.data.batch_size, config.loss.label_smoothing, 0.0
        torch.set_num_threads(args.threads)
        torch.set_flush_denormal(True)
        images, labels, _, _ = read_mnist(args.data)
        self.images = torch.from_numpy(images[: self.count].astype(np.float32)).div_(255).reshape(-1, 1, 28, 28)
        self.mean, self.deviation = self.images.mean(), self.images.std()
        self.labels = torch.from_numpy(labels[: self.count].astype(np.int64))
        nn = torch.nn
        self.model = nn.Sequential(
            nn.Conv2d(1, 4, 5), nn.ReLU(inplace=True), nn.AvgPool2d(2),
            nn.Conv2d(4, 6, 5), nn.ReLU(inplace=True), nn.AvgPool2d(2),
            nn.Flatten(), nn.Linear(96, 50), nn.ReLU(inplace=True), nn.Linear(50, 10),
        )  # fmt: skip
        kernels = [p for p in self.model.parameters() if p.ndim > 1]
        biases = [p for p in self.model.parameters() if p.ndim == 1]
        groups = [{"params": kernels, "weight_decay": config.optimizer.weight_decay}]
        groups += [{"params": biases, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, config.optimizer.learning_rate, fused=True)
        self.averaged = torch.optim.swa_utils.AveragedModel(
            self.model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(config.optimizer.average)
        )
        self.loss = nn.CrossEntropyLoss(label_smoothing=self.smoothing)
        self.speeds: list[float] = []

    def distorted(self, x: Any) -> Any:
        """Return a batch float32 [N, 1, 28, 28] under random affine maps and elastic displacements."""
        torch, augment, count = self.torch, self.augment, len(x)
        draw = torch.rand(5, count).mul_(2).sub_(1)
        angle, zoom = draw[0] * float(np.deg2rad(augment.rotation)), 1 / (1 + augment.scale * draw[1])
        c, s, lean = zoom * angle.cos(), zoom * angle.sin(), augment.shear * draw[2]
        rows = [c, c * lean - s, draw[3] * augment.shift / 14, s, s * lean + c, draw[4] * augment.shift / 14]
        grid = torch.nn.functional.affine_grid(torch.stack(rows, 1).reshape(-1, 2, 3), list(x.shape), False)
        if augment.elastic:
            size = -(-28 // augment.elastic_sigma) + 1
            field = torch.randn(count, 2, size, size) * (augment.elastic / 14)
            field = torch.nn.functional.interpolate(field, (28, 28), mode="bicubic", align_corners=True)
            grid = grid + field.permute(0, 2, 3, 1)
        return torch.nn.functional.grid_sample(x, grid, align_corners=False)

    def run(self) -> None:
        """Train one epoch of `count` images."""

        def epoch() -> None:
            for batch in self.torch.randperm(self.count).split(self.batch):
                self.optimizer.zero_grad(set_to_none=True)
                x = (self.distorted(self.images[batch]) - self.mean) / self.deviation
                self.loss(self.model(x), self.labels[batch]).backward()
                self.optimizer.step()
                self.averaged.update_parameters(self.model)

        self.speeds.append(self.count / timed(epoch))


def tables(report: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    results = report["results"]
    rows = [
        [name, spread(result["images_per_second"], ",.0f"), spread_of(result["ratio"])]
        for name, result in results.items()
    ]
    return markdown_table(["one epoch", "images/s", f"{RECIPE} is faster by"], rows)


def spread_of(ratio: list[float]) -> str:
    """Write `median (min–max)` of a ratio."""
    return f"{ratio[0]:.2f}× ({ratio[1]:.2f}–{ratio[2]:.2f})"


def main() -> None:
    args = parse()
    recipe = Ours(args, {})
    contestants = {
        RECIPE: recipe,
        "without augmentation": Ours(args, OFF),
        "every distortion on": Ours(args, ALL),
        "PyTorch, same recipe": WithTorch(args, recipe.config),
    }
    for contestant in contestants.values():
        contestant.run()  # not counted: it fills the caches
        contestant.speeds.clear()
    for _ in range(args.rounds):
        for contestant in contestants.values():
            contestant.run()
    results = {
        name: {"images_per_second": item.speeds, "ratio": ratio_spread(recipe.speeds, item.speeds)}
        for name, item in contestants.items()
    }
    report = report_of("learning", args, results, epochs=recipe.config.train.epochs)
    finish(report, tables(report), args)
    off, full = (median(contestants[name].speeds) for name in ("without augmentation", "every distortion on"))
    recipe_cost, full_cost = (100 * (1 - speed / off) for speed in (median(recipe.speeds), full))
    print(f"\naugmentation costs {recipe_cost:.0f} % of the throughput, with every distortion on {full_cost:.0f} %")


if __name__ == "__main__":
    main()
