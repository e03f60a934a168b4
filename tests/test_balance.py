"""Classes of different sizes: weights of the loss and balanced drawing, against PyTorch and scikit-learn."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from compiled import STILL, executor_for, gradients
from sklearn.utils.class_weight import compute_class_weight
from test_losses import CASES, COUNT, EPS, draw, torch_loss, torch_outputs

import lenumba
from lenumba.engine.common.errors import ConfigError
from lenumba.engine.config.config import dump_config, load_config, read_config
from lenumba.engine.config.yaml_file import load_yaml
from lenumba.engine.data.balance import balanced_order, class_weights
from lenumba.engine.data.selection import load_data
from lenumba.engine.explain.explain import explain
from lenumba.engine.explain.subject import find_sample, find_subject
from lenumba.engine.network.layers import BatchNorm, Dense, Flatten
from lenumba.engine.network.network import Network
from lenumba.engine.network.optimizers import make_optimizer
from lenumba.engine.runs.prepare import check_run
from lenumba.engine.runs.run import resume_run, start_run
from lenumba.engine.runs.verify import verify_run
from lenumba.engine.training.buffers import planar
from lenumba.engine.training.trainer import Trainer
from lenumba.kernels.program.source import program_source

BARS = """\
data: {name: bars, samples: 300, validation: 100, batch_size: 16}
network: {layers: [flatten, {type: dense, units: 2, activation: softmax}]}
optimizer: {name: sgd, learning_rate: 0.1}
train: {epochs: 2, threads: 1}
"""


def bars(**changes):
    return read_config(BARS, "bars.yaml", {key.replace("__", "."): value for key, value in changes.items()})


# ---------------------------------------------------------------------------------------------------- the loss


@pytest.mark.parametrize(
    ("loss", "outputs", "activation", "smoothing", "unit"), [*((*case, 16) for case in CASES), (*CASES[0], 1)]
)
def test_weighted_loss_and_gradients_equal_pytorch(loss, outputs, activation, smoothing, unit):
    layers = [Flatten(), Dense(units=outputs, activation=activation)]
    network, alike = (Network(layers, (1, 20, 1), loss=loss, batch_size=unit, weighted=on) for on in (True, False))
    executor, (images, labels) = executor_for(network, threads=2, smoothing=smoothing), draw(classes=max(2, outputs))
    weights = np.random.default_rng(2).uniform(0.01, 3, COUNT).astype(np.float32)
    weights[:3] = np.finfo(np.float32).tiny  # as good as none
    order = np.random.default_rng(3).permutation(COUNT)
    rates = make_optimizer(executor.optimizer.config).hyper(np.zeros(1), 1)
    _, totals = executor.train(images, labels, order, COUNT, rates, weights=weights)
    z, leaves = torch_outputs(executor, images)
    if activation not in (network.loss.fused, "none"):
        z = getattr(torch, activation)(z)
    # By the batch, as Keras divides; PyTorch itself divides by the sum of the weights.
    each = [torch_loss(loss, z[n : n + 1], labels[n : n + 1], smoothing) for n in range(COUNT)]
    expected = sum(float(weight) * one for weight, one in zip(weights, each, strict=True)) / COUNT
    expected.backward()
    tolerance = 3 * 8 * EPS * (20 * COUNT) ** 0.5
    assert totals[0] / COUNT == pytest.approx(expected.item(), abs=tolerance)
    for name, view in network.views(executor.state).items():
        np.testing.assert_allclose(view, leaves[name].grad.numpy(), rtol=0, atol=tolerance, err_msg=name)
    plain = executor_for(alike, smoothing=smoothing)
    assert totals[1] == gradients(plain, images, labels)[1]  # images that weigh nothing are answered, too
    assert executor.evaluate(images, labels, order)[0] == plain.evaluate(images, labels, order)[0]


def test_class_weights_are_pytorchs_but_for_the_learning_rate():
    """PyTorch divides by a batch's sum of weights; here all weights are scaled so that an average image weighs 1."""
    loaded = bars(loss__class_weight={"vertical": 3.0}, data__batch_size=200)
    trainer = Trainer(loaded, load_data(loaded))
    labels = trainer.dataset.train_labels[trainer.train_indices]
    weights = torch.tensor([1.0, 3.0], dtype=torch.float64)
    z = torch.randn(len(labels), 2, dtype=torch.float64)
    by_class = [trainer.class_weights[name] for name in trainer.dataset.class_names]
    own = torch.tensor(by_class, dtype=torch.float64)[labels]
    each = torch.nn.functional.cross_entropy(z, torch.tensor(labels), reduction="none")
    expected = torch.nn.functional.cross_entropy(z, torch.tensor(labels), weight=weights)
    assert (own * each).mean().item() == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(trainer.weights[trainer.train_indices], own, rtol=1e-6)


def test_balanced_weights_are_scikit_learns():
    labels = np.random.default_rng(0).choice([0, 1, 3], 500, p=[0.8, 0.15, 0.05])
    found = class_weights(bars(loss__class_weight="balanced"), ["a", "b", "c", "d"], labels)
    np.testing.assert_allclose(
        found[[0, 1, 3]], compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=labels)
    )
    assert found[2] == 0  # no images: nothing to weigh


def test_weights_average_one_over_what_an_epoch_draws():
    labels = np.repeat([0, 1], [90, 10])
    weights = {"a": 1.0, "b": 3.0}
    shuffled = class_weights(bars(loss__class_weight=weights), ["a", "b"], labels)
    drawn = class_weights(bars(loss__class_weight=weights, data__sampling="balanced"), ["a", "b"], labels)
    assert shuffled[labels].mean() == pytest.approx(1)
    assert drawn.mean() == pytest.approx(1)
    np.testing.assert_allclose([shuffled[1] / shuffled[0], drawn[1] / drawn[0]], 3)


def test_weights_of_one_change_no_bit_where_blocks_wait_for_one_another():
    """Batch normalisation goes through a batch in segments: the weights of a block are still there in the last one."""
    layers = [BatchNorm(), Flatten(), Dense(units=3, activation="softmax")]
    rng = np.random.default_rng(0)
    images, labels = planar(rng.integers(0, 256, (50, 4, 5, 2), np.uint8)), rng.integers(0, 3, 50)
    found = {}
    for name, weights in (("none", None), ("ones", np.ones(50, np.float32)), ("twos", np.full(50, 2, np.float32))):
        executor = executor_for(Network(layers, (4, 5, 2), weighted=weights is not None), threads=2)
        executor.train(images, labels, np.arange(50), 50, STILL.hyper(np.zeros(1), 1), weights=weights)
        found[name] = executor.state.copy()
    np.testing.assert_array_equal(found["ones"], found["none"])
    np.testing.assert_allclose(found["twos"], 2 * found["none"], rtol=1e-4, atol=1e-6)


def test_program_without_weights_is_what_it_was():
    layers, optimizer = [Flatten(), Dense(units=3)], make_optimizer(bars().config.optimizer)
    texts = [
        program_source(Network(layers, (8, 8, 1), weighted=weighted).plan(optimizer)).text for weighted in (False, True)
    ]
    assert "weigh" not in texts[0].replace("weight", "")
    assert set(texts[0].splitlines()) <= set(texts[1].splitlines())


# ---------------------------------------------------------------------------------------------------- the drawing


def test_balanced_order_draws_every_class_alike_and_every_image_of_a_class():
    labels = np.repeat([0, 1, 2], [800, 150, 50])
    indices = np.flatnonzero(np.arange(1000) % 2)
    orders = [balanced_order(labels, indices, 7, epoch) for epoch in range(40)]
    drawn = np.concatenate(orders)
    assert all(len(order) == len(indices) for order in orders)
    assert set(drawn) <= set(indices)
    counts = np.bincount(labels[drawn])
    assert np.abs(counts - len(drawn) / 3).max() < 5 * np.sqrt(len(drawn) * 2 / 9)
    rare = np.bincount(drawn, minlength=1000)[indices[labels[indices] == 2]]
    assert np.abs(rare - rare.mean()).max() < 6 * np.sqrt(rare.mean())
    np.testing.assert_array_equal(orders[3], balanced_order(labels, indices, 7, 3))
    assert (orders[0] != orders[1]).any()
    assert (orders[0] != balanced_order(labels, indices, 8, 0)).any()


@pytest.mark.parametrize("changes", [{"loss.class_weight": {"vertical": 5.0}}, {"data.sampling": "balanced"}])
def test_threads_and_going_on_change_no_bit(place, changes):
    found = []
    for threads in (1, 3):
        run = start_run(load_config("tiny15", {**changes, "train.epochs": 3, "train.threads": threads}))
        found.append(run.summary["weights_sha256"])
    short = start_run(load_config("tiny15", {**changes, "train.epochs": 2}))
    found.append(resume_run(short.path, ["train.epochs=3"]).summary["weights_sha256"])
    assert len(set(found)) == 1
    assert verify_run(short.path).difference is None
    assert found[0] != start_run(load_config("tiny15", {"train.epochs": 3})).summary["weights_sha256"]


# -------------------------------------------------------------------------------------------------- what is told


def test_run_records_the_weights_and_says_them(place):
    run = start_run(load_config("tiny15", {"loss.class_weight": {"vertical": 3.0}, "train.epochs": 1}))
    record = json.loads((run.path / "run.json").read_text())
    weights = record["class_weights"]
    assert weights["vertical"] / weights["horizontal"] == pytest.approx(3)
    assert any(note.startswith("bars: the training loss of an image counts horizontal ") for note in record["notes"])
    found = explain(subject := find_subject(str(run.path), [], "best"), find_sample(subject, "0", "vertical"))
    assert f"{weights['vertical']:.4g}·(" in found.equations[1]
    untrained = find_subject("tiny15", ["loss.class_weight={vertical: 3}"], "best")
    assert untrained.weights == pytest.approx(weights)


def test_run_with_other_weights_is_another_run(place):
    run = start_run(load_config("tiny15", {"loss.class_weight": {"vertical": 3.0}, "train.epochs": 1}))
    text = (run.path / "config.yaml").read_text()
    (run.path / "config.yaml").write_text(text.replace("vertical: 3.0", "vertical: 3.0\n    horizontal: 2.0"))
    with pytest.raises(ConfigError, match=r"loss\.class_weight: expected .* which .* was trained with"):
        resume_run(run.path, ["train.epochs=2"])


def test_class_names_of_any_kind_come_back_from_the_file():
    names = ["T-shirt/top", "Ankle boot", "7", "no: yes", "null", "true"]
    loaded = load_config("fashion", {"loss.class_weight": dict.fromkeys(names, 2.0)})
    assert load_yaml(dump_config(loaded.config), "x")[0]["loss"]["class_weight"] == dict.fromkeys(names, 2.0)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("loss.class_weight={diagonal: 2}", "no class 'diagonal' in bars; its classes are horizontal, vertical"),
        (
            "loss.class_weight=equal",
            'expected balanced, or a weight for each class such as {scratch: 5}, found "equal"',
        ),
        ("loss.class_weight={vertical: -1}", "vertical: expected a number from 0 to 1e+06, found -1"),
        ("loss.class_weight={vertical: 0, horizontal: 0}", "expected a weight above 0"),
        ("data.sampling=even", 'expected one of shuffle, balanced, found "even"'),
    ],
)
def test_faults_are_one_line_for_check_and_train(place, override, says):
    for act in (check_run, start_run):
        if act is check_run and "horizontal" in override:
            continue  # only the images tell which classes there are
        with pytest.raises(ConfigError) as caught:
            act(load_config("tiny15", [override]))
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not Path("runs").exists()


def test_both_ways_to_balance_exclude_each_other():
    with pytest.raises(ConfigError, match=r"loss\.class_weight: expected null beside data\.sampling = balanced"):
        bars(loss__class_weight="balanced", data__sampling="balanced")


# ---------------------------------------------------------------------------------------------- what it is good for


def parts(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of parts in three classes, 80, 15 and 5 % of them: a faint row or column in noise, or none."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, count, p=[0.8, 0.15, 0.05])
    images = rng.normal(120, 30, (count, 8, 8))
    images[labels == 1, 3] -= 25
    images[labels == 2, :, 4] -= 25
    return images.clip(0, 255).astype(np.uint8), np.array(["ok", "scratch", "dent"])[labels]


def test_small_classes_are_found_more_often_where_they_count_as_much(place):
    (images, labels), test = parts(1500, 0), parts(1500, 1)
    recipe = {
        "data": {"validation": 0.2, "batch_size": 32},
        "network": {"layers": ["flatten", {"type": "dense", "units": 3, "activation": "softmax"}]},
        "optimizer": {"name": "sgd", "learning_rate": 0.003},
        "train": {"epochs": 2},
    }
    plain, *others = (
        lenumba.train(recipe, changes, images=images, labels=labels, test=test).summary
        for changes in ({}, {"loss.class_weight": "balanced"}, {"data.sampling": "balanced"})
    )
    for found in others:
        assert found["test_balanced_accuracy"] > plain["test_balanced_accuracy"] + 0.08
        assert found["recall"]["dent"] > plain["recall"]["dent"] + 0.1
