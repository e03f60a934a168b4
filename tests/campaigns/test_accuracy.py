"""LeNet's test accuracy against a PyTorch twin of the recipe, over 40 seeds on MNIST.

Both sides have the recipe (configs/lenet.yaml), the images and the split into training and validation in common;
initial weights, orders and arithmetic are each side's own. Equivalence is tested as usual, with two one-sided t-tests
at 5 %: the 90 % confidence interval of the difference of the means must lie within ±0.1 points.

The accuracy's deviation from seed to seed is about 0.09 points. 20 seeds would make an interval of ±0.047 around a
difference that is off by 0.028 at one sigma: equal programs would miss the margin in one of fifteen campaigns; with 40
they do in one of a thousand. A larger SEEDS goes on from the results that are there.

Results are kept in pytest's cache folder as they come, so that an interrupted campaign goes on where it was. By hand:
`python tests/campaigns/test_accuracy.py --side torch --seed 3 --root MNIST` prints one accuracy.
"""

import argparse
import itertools
import json
import math
import statistics
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from lenumba.engine.config.config import LoadedConfig, load_config
from lenumba.engine.data.dataset import Dataset, load_dataset
from lenumba.engine.data.selection import split
from lenumba.engine.training.trainer import Trainer

SEEDS, MARGIN = 40, 0.1  # points of test accuracy
Z_95 = 1.645  # the normal distribution: one-sided 5 %
SIDES = ("lenumba", "torch")


class TorchTwin:
    """The recipe `lenet` in PyTorch: Glorot weights, AdamW that leaves biases alone, warm-up and cosine."""

    def __init__(self, loaded: LoadedConfig, dataset: Dataset) -> None:
        self.config, self.dataset = loaded.config, dataset
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        torch.manual_seed(self.config.train.seed)
        self.train, self.validation = split(loaded, dataset)
        pixels = torch.from_numpy(dataset.train_images[self.train]).double() / 255
        self.mean, self.deviation = pixels.mean().item(), pixels.std(unbiased=False).item()
        self.images, self.labels = self.prepare(dataset.train_images), torch.from_numpy(dataset.train_labels)
        self.model = nn.Sequential(
            *(nn.Conv2d(1, 4, 5), nn.ReLU(), nn.AvgPool2d(2)),
            *(nn.Conv2d(4, 6, 5), nn.ReLU(), nn.AvgPool2d(2)),
            *(nn.Flatten(), nn.Linear(96, 50), nn.ReLU(), nn.Linear(50, 10)),
        )
        kernels = [parameter for parameter in self.model.parameters() if parameter.ndim > 1]
        biases = [parameter for parameter in self.model.parameters() if parameter.ndim == 1]
        for kernel in kernels:
            nn.init.xavier_uniform_(kernel)
        for bias in biases:
            nn.init.zeros_(bias)
        groups = [{"params": kernels, "weight_decay": 0.01}, {"params": biases, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=5e-3)
        self.steps = math.ceil(len(self.train) / 64)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self.rate)

    def prepare(self, images: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255).sub(self.mean).div(self.deviation)

    def rate(self, step: int) -> float:
        """Return the share of the peak rate: one epoch of linear growth, then half a cosine down to zero."""
        if step < self.steps:
            return (step + 1) / self.steps
        rest = max(1, (self.config.train.epochs - 1) * self.steps)
        return (1 + math.cos(math.pi * (step - self.steps) / rest)) / 2

    def epoch(self, order: torch.Tensor) -> float:
        """Train on the images in this order; return the mean loss."""
        total = 0.0
        for batch in order.split(64):
            self.optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self.model(self.images[batch]), self.labels[batch])
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            total += loss.item() * len(batch)
        return total / len(order)

    @torch.inference_mode()
    def judge(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
        """Return the accuracy and minus the mean loss: the greater, the better."""
        logits = torch.cat([self.model(part) for part in images.split(1000)])
        return (logits.argmax(1) == labels).double().mean().item(), -nn.functional.cross_entropy(logits, labels).item()

    def test_accuracy(self) -> float:
        """Train and return the test accuracy of the epoch that was best in validation."""
        best, chosen = (-1.0, -math.inf), {}
        for _ in range(self.config.train.epochs):
            self.epoch(torch.from_numpy(self.train)[torch.randperm(len(self.train))])
            found = self.judge(self.images[self.validation], self.labels[self.validation])
            if found > best:
                best, chosen = found, {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict(chosen)
        return self.judge(self.prepare(self.dataset.test_images), torch.from_numpy(self.dataset.test_labels))[0]


def measure(side: str, seed: int, root: str) -> float:
    """Return one run's test accuracy, in percent."""
    loaded = load_config("lenet", {"data.root": root, "train.seed": seed, "train.threads": 1})
    dataset = load_dataset("mnist", root)
    if side == "torch":
        return 100 * TorchTwin(loaded, dataset).test_accuracy()
    trainer = Trainer(loaded, dataset)
    assert len(list(trainer.epochs())) == loaded.config.train.epochs
    return 100 * trainer.test().accuracy


def equivalence(first: list[float], second: list[float]) -> tuple[float, float, float]:
    """Return the difference of the means and the 90 % confidence interval around it (equally many, equal variances)."""
    difference = statistics.mean(first) - statistics.mean(second)
    error = math.sqrt((statistics.variance(first) + statistics.variance(second)) / len(first))
    # Student's t by the first term of its expansion: 1.665 for 78 degrees of freedom.
    half = (Z_95 + (Z_95**3 + Z_95) / (4 * (2 * len(first) - 2))) * error
    return difference, difference - half, difference + half


def test_twin_is_the_same_recipe():
    """From the same weights, with the same batches, both trainings stay together."""
    loaded = load_config(
        "lenet",
        {"data.name": "digits", "data.samples": 1500, "data.validation": 100, "train.epochs": 3, "train.threads": 1},
    )
    dataset = load_dataset("digits")
    trainer, twin = Trainer(loaded, dataset), TorchTwin(loaded, dataset)
    mean, deviation = dataset.mean_and_std(trainer.train_indices)
    assert np.allclose([twin.mean, twin.deviation], [mean[0], deviation[0]], rtol=1e-12)
    views = trainer.network.views(trainer.executor.theta)
    for parameter, (name, view) in zip(twin.model.parameters(), views.items(), strict=True):
        spread = parameter.std().item() if parameter.ndim > 1 else 0.0
        # Drawn apart, but of one distribution: 100 weights' deviation is off by 7 % at one sigma.
        assert view.std() == pytest.approx(spread, rel=0.35), name
        parameter.data.copy_(torch.from_numpy(view.copy()))
    for epoch, record in enumerate(trainer.epochs()):
        loss = twin.epoch(torch.from_numpy(trainer.epoch_order(epoch)))
        assert record.train_loss == pytest.approx(loss, rel=1e-5)
    for parameter, (name, view) in zip(twin.model.parameters(), views.items(), strict=True):
        # Rounding alone makes some 3e-7; a decayed bias, or a schedule that is a step late, 1e-3 and more.
        np.testing.assert_allclose(parameter.detach().numpy(), view, rtol=0, atol=2e-5, err_msg=name)


def test_accuracies_are_equivalent(campaign, request, mnist_root):
    if not campaign.full:
        pytest.skip("trains LeNet 80 times: with --campaign")
    store = request.config.cache.mkdir("campaigns") / "lenet-accuracy.jsonl"
    store.touch()
    # A run that was killed while writing leaves half a line behind; its seed is repeated.
    done = {(row["side"], row["seed"]): row["accuracy"] for row in map(parsed, store.read_text().split("\n")) if row}
    for seed, side in itertools.product(range(SEEDS), SIDES):
        if (side, seed) not in done:
            command = [sys.executable, __file__, "--side", side, "--seed", str(seed), "--root", str(mnist_root)]
            found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            done[side, seed] = float(found.stdout)
            with store.open("a") as file:
                file.write("\n" + json.dumps({"side": side, "seed": seed, "accuracy": done[side, seed]}))
    lenumba, peer = ([done[side, seed] for seed in range(SEEDS)] for side in SIDES)
    difference, low, high = equivalence(lenumba, peer)
    campaign.note(
        f"LeNet on MNIST, seeds 0–{SEEDS - 1}: test accuracy {statistics.mean(lenumba):.3f} ± "
        f"{statistics.stdev(lenumba):.3f} %, PyTorch {statistics.mean(peer):.3f} ± {statistics.stdev(peer):.3f} %; "
        f"difference {difference:+.3f} points, 90 % confidence interval {low:+.3f} … {high:+.3f}"
    )
    assert -MARGIN < low <= high < MARGIN


def parsed(line: str) -> dict | None:
    try:
        return json.loads(line)
    except ValueError:
        return None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=SIDES, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--root", required=True, help="the folder with MNIST's four files")
    given = parser.parse_args()
    sys.stdout.write(f"{measure(given.side, given.seed, given.root)}\n")
