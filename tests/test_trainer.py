"""Training: schedules, the order of the images, splits, metrics, and whether anything is learnt."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lenumba.engine.common.errors import DivergedError
from lenumba.engine.common.metrics import confusion_matrix, precision_and_recall, predicted_classes
from lenumba.engine.config.config import load_config, read_config
from lenumba.engine.config.sections import Schedule
from lenumba.engine.data import selection
from lenumba.engine.data.dataset import load_dataset
from lenumba.engine.network.schedules import SCHEDULES, learning_rates
from lenumba.engine.runs import run as runs
from lenumba.engine.runs.run import start_run
from lenumba.engine.training.trainer import Trainer

STEPS, EPOCHS, PEAK = 7, 12, 0.3


def rates(name: str, **settings) -> np.ndarray:
    return learning_rates(Schedule(name=name, **settings), PEAK, 0, STEPS * EPOCHS, STEPS, EPOCHS)


def torch_rates(schedule, count: int, **settings) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=PEAK)
    scheduler = schedule(optimizer, **settings)
    found = []
    for _ in range(count):
        found.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return found


def test_constant_schedule_stays():
    assert rates("constant").tolist() == [PEAK] * (STEPS * EPOCHS)


def test_cosine_is_that_of_torch():
    total = STEPS * EPOCHS
    expected = torch_rates(torch.optim.lr_scheduler.CosineAnnealingLR, total, T_max=total, eta_min=0.1 * PEAK)
    assert rates("cosine", final_fraction=0.1) == pytest.approx(expected, rel=1e-9)


def test_step_is_that_of_torch():
    expected = torch_rates(torch.optim.lr_scheduler.StepLR, STEPS * EPOCHS, step_size=5 * STEPS, gamma=0.3)
    assert rates("step", step_epochs=5, step_factor=0.3) == pytest.approx(expected, rel=1e-9)


def test_exponential_is_that_of_torch_stepped_once_an_epoch():
    found = rates("exponential", gamma=0.99).reshape(EPOCHS, STEPS)
    expected = torch_rates(torch.optim.lr_scheduler.ExponentialLR, EPOCHS, gamma=0.99)
    assert (found == found[:, :1]).all()
    assert found[:, 0] == pytest.approx(expected, rel=1e-9)
    assert found[:, 0] == pytest.approx([PEAK * 0.99**epoch for epoch in range(EPOCHS)], rel=1e-12)


def test_piecewise_is_that_of_torch_with_the_boundaries_as_milestones():
    expected = torch_rates(torch.optim.lr_scheduler.MultiStepLR, EPOCHS, milestones=[3, 8], gamma=0.2)
    found = rates("piecewise", boundaries=[3, 8], values=[1.0, 0.2, 0.04]).reshape(EPOCHS, STEPS)
    assert found == pytest.approx(np.repeat([expected], STEPS, axis=0).T, rel=1e-9)


def test_warmup_is_the_linear_one_of_torch():
    settings = {"start_factor": 1 / (2 * STEPS), "total_iters": 2 * STEPS - 1}
    expected = torch_rates(torch.optim.lr_scheduler.LinearLR, STEPS * EPOCHS, **settings)
    assert rates("constant", warmup_epochs=2) == pytest.approx(expected, rel=1e-9)


def test_curve_after_the_warmup_is_that_of_a_shorter_run():
    short = learning_rates(Schedule(name="cosine"), PEAK, 0, STEPS * (EPOCHS - 2), STEPS, EPOCHS - 2)
    assert rates("cosine", warmup_epochs=2)[2 * STEPS :] == pytest.approx(short, rel=1e-12)


def test_one_cycle_follows_its_formula():
    total = STEPS * EPOCHS
    for k, rate in enumerate(rates("one_cycle", final_fraction=0.01)):
        progress = k / total
        if progress < 0.3:
            expected = 0.04 + 0.96 * progress / 0.3
        else:
            expected = 0.01 + 0.99 * (1 + math.cos(math.pi * (progress - 0.3) / 0.7)) / 2
        assert rate == pytest.approx(PEAK * expected, rel=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("warmup", [0, 1.5])
def test_rates_of_a_part_are_those_of_the_whole(name, warmup):
    schedule = Schedule(name=name, warmup_epochs=warmup, step_epochs=2, boundaries=[2, 5], values=[1.0, 0.5, 0.1])
    whole = learning_rates(schedule, PEAK, 0, STEPS * EPOCHS, STEPS, EPOCHS)
    parts = [learning_rates(schedule, PEAK, k * STEPS, (k + 1) * STEPS, STEPS, EPOCHS) for k in range(EPOCHS)]
    assert np.concatenate(parts).tolist() == whole.tolist()


@pytest.fixture(scope="module")
def trainer():
    """A trainer of a few images, which no test trains."""
    loaded = load_config("quickstart", ["data.samples=640", "train.seed=3"])
    return Trainer(loaded, load_dataset("digits"))


def test_order_of_an_epoch_is_a_permutation_of_the_training_images(trainer):
    for epoch in range(5):
        assert sorted(trainer.epoch_order(epoch)) == trainer.train_indices.tolist()


def test_orders_differ_between_epochs_and_seeds_but_not_between_calls(trainer):
    orders = {tuple(trainer.epoch_order(epoch)) for epoch in range(5)}
    assert len(orders) == 5
    assert tuple(trainer.epoch_order(2)) in orders
    loaded = load_config("quickstart", ["data.samples=640", "train.seed=4", "data.validation=0"])
    same = Trainer(load_config("quickstart", ["data.samples=640", "data.validation=0"]), trainer.dataset)
    other = Trainer(loaded, trainer.dataset)
    assert other.epoch_order(0).tolist() != same.epoch_order(0).tolist()


def test_validation_images_are_not_trained_on(trainer):
    together = np.concatenate([trainer.train_indices, trainer.val_indices])
    assert len(set(together.tolist())) == len(together) == 640
    assert len(trainer.val_indices) == 64


def test_pixel_statistics_are_those_of_the_training_images(trainer):
    pixels = trainer.dataset.train_images[trainer.train_indices] / 255
    assert trainer.normalization.mean == pytest.approx(pixels.mean(), rel=1e-12)
    assert trainer.normalization.deviation == pytest.approx(pixels.std(), rel=1e-9)


def test_test_set_is_read_once_and_at_the_end(place, monkeypatch):
    reads = []

    def counted(*arguments, **options):
        dataset = load_dataset(*arguments, **options)
        images = dataset.test_images
        fields = {
            name: getattr(dataset, name) for name in (*dataset.__dataclass_fields__, "image_shape", "mean_and_std")
        }
        del fields["test_images"]

        class Watched(SimpleNamespace):
            train_truth = property(lambda self: self.train_labels)
            test_truth = property(lambda self: self.test_labels)

            @property
            def test_images(self):
                reads.append(len(epochs))
                return images

        return Watched(**fields)

    epochs = []
    monkeypatch.setattr(selection, "load_dataset", counted)
    start_run(load_config("tiny.yaml"), hooks=runs.Hooks(epoch=epochs.append))
    assert reads == [3]


def test_predicted_class_is_the_most_probable_and_one_output_is_a_yes_or_no():
    assert predicted_classes(np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]], np.float32)).tolist() == [1, 0]
    assert predicted_classes(np.array([[0.2], [0.5], [0.9]], np.float32)).tolist() == [0, 1, 1]


def test_confusion_precision_and_recall_of_a_case_made_by_hand():
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 2])
    predicted = np.array([0, 0, 0, 1, 1, 0, 1, 0])
    confusion = confusion_matrix(labels, predicted, 4)
    assert confusion.tolist() == [[3, 1, 0, 0], [1, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    precision, recall = precision_and_recall(confusion)
    assert precision.tolist() == [3 / 5, 2 / 3, 0, 0]  # class 2 was never predicted, class 3 does not occur
    assert recall.tolist() == [3 / 4, 2 / 3, 0, 0]


def test_best_parameters_are_those_of_the_best_epoch(place):
    result = start_run(load_config("tiny.yaml", ["optimizer.learning_rate=2", "train.epochs=25"]))
    scores = [(line["val_accuracy"], -line["val_loss"]) for line in result.history]
    best = result.summary["best_epoch"]
    assert scores[best - 1] == max(scores)
    assert best < 25  # such a rate makes the validation loss go up and down, or this would show nothing
    until = start_run(load_config("tiny.yaml", ["optimizer.learning_rate=2", f"train.epochs={best}"]))
    assert until.summary["weights_sha256"] == result.summary["best_weights_sha256"]
    assert until.summary["test_accuracy"] == result.summary["test_accuracy"]


def test_without_validation_the_last_epoch_is_the_best(place):
    result = start_run(load_config("tiny.yaml", ["data.validation=0"]))
    assert [(line["val_loss"], line["val_accuracy"]) for line in result.history] == [(None, None)] * 3
    assert result.summary["best_epoch"] == 3
    assert result.summary["best_weights_sha256"] == result.summary["weights_sha256"]


def test_validation_loss_that_is_not_finite_is_divergence(place, monkeypatch):
    monkeypatch.setattr(
        "lenumba.engine.training.executor.Executor.evaluate",
        lambda self, images, labels, order: (math.nan, np.zeros((len(order), 10), np.float32)),
    )
    with pytest.raises(DivergedError, match="validation loss is not finite after epoch 1"):
        start_run(load_config("tiny.yaml"))


def test_three_epochs_of_drawn_digits_reach_90_percent(place):
    result = start_run(load_config("quickstart", ["train.epochs=3"]))
    assert result.test_accuracy > 0.9
    losses = [line["train_loss"] for line in result.history]
    assert losses == sorted(losses, reverse=True)


def test_one_epoch_of_mnist_reaches_93_percent(place, mnist_root):
    result = start_run(load_config("lenet", {"train.epochs": 1, "data.root": str(mnist_root)}))
    assert result.test_accuracy > 0.93


def test_history_has_the_schedules_rates(place):
    text = (place / "tiny.yaml").read_text() + "schedule: {name: cosine, warmup_epochs: 1}\n"
    result = start_run(read_config(text, "tiny.yaml"))
    expected = learning_rates(Schedule(name="cosine", warmup_epochs=1), 0.1, 0, 48, 16, 3)
    assert [line["learning_rate"] for line in result.history] == expected[15::16].tolist()


def test_training_in_pieces_is_training_at_once():
    """Whole epochs and parts of one, the last of which is the whole epoch but for its validation."""
    loaded = load_config("quickstart", ["data.samples=640", "train.epochs=3", "schedule.name=cosine"])
    whole, pieces = (Trainer(loaded, load_dataset("digits")) for _ in range(2))
    expected = list(whole.epochs())
    found = []
    for until in [(0, 3), (1, 0), (1, 5), (1, 5), (2, whole.steps_per_epoch)]:
        found += pieces.epochs(until=until)
        assert (pieces.progress.epoch, pieces.progress.batch) == until
    assert len(found) == 2
    found += pieces.epochs(planned=3)
    assert pieces.progress == whole.progress
    assert pieces.executor.theta.tobytes() == whole.executor.theta.tobytes()
    for one, other in zip(found, expected, strict=True):
        assert replace(one, seconds=0, images_per_second=0) == replace(other, seconds=0, images_per_second=0)
    whole.restart(whole.executor)
    assert len(list(whole.epochs(planned=2))) == 2
    short = Trainer(
        load_config("quickstart", ["data.samples=640", "train.epochs=2", "schedule.name=cosine"]), whole.dataset
    )
    list(short.epochs())
    assert short.executor.theta.tobytes() == whole.executor.theta.tobytes()
