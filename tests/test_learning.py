"""Averaged weights and clipped gradients against PyTorch; early stopping."""

import numpy as np
import pytest
import torch
from compiled import leaves_of
from safetensors.numpy import load_file
from torch.optim.swa_utils import AveragedModel

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.common.progress import Progress
from lenumba.engine.config.config import read_config
from lenumba.engine.config.sections import Optimizer
from lenumba.engine.data.normalization import Normalization
from lenumba.engine.data.selection import load_data
from lenumba.engine.explain.explain import explain
from lenumba.engine.explain.subject import Sample, find_subject
from lenumba.engine.models.export import export_run
from lenumba.engine.models.importing import import_weights
from lenumba.engine.models.model import Model
from lenumba.engine.network.layers import Dense, Flatten
from lenumba.engine.network.network import Network
from lenumba.engine.network.optimizers import make_optimizer
from lenumba.engine.runs.checkpoint import Checkpoint
from lenumba.engine.runs.folders import load_run_config
from lenumba.engine.runs.run import resume_run, start_run
from lenumba.engine.training.executor import Executor
from lenumba.engine.training.trainer import Trainer

EPS = 2.0**-24
LAYERS = [Flatten(), Dense(units=7, activation="tanh"), Dense(units=3, activation="softmax")]


def executor_for(section, threads=1):
    network, optimizer = Network(LAYERS, (4, 4, 1)), make_optimizer(section)
    program, normalization = network.compile(optimizer), Normalization(np.zeros(1), np.ones(1))
    executor = Executor(network, program, optimizer, normalization=normalization, threads=threads)
    executor.theta[:] = network.initial_parameters(0)
    return executor


def draw(count):
    rng = np.random.default_rng(0)
    memory = rng.integers(0, 256, count * 16 + 16, np.uint8)
    return memory[:-16].reshape(count, 1, 4, 4), rng.integers(0, 3, count)


def train(executor, steps, rate=0.1, size=40):
    images, labels = draw(steps * size)
    rows = executor.optimizer.hyper(np.full(steps, rate), 1)
    executor.train(images, labels, np.arange(steps * size), size, rows)
    return executor


class Peer(torch.nn.Module):
    """The same network and parameters in PyTorch, float64."""

    def __init__(self, executor):
        super().__init__()
        self.leaves = torch.nn.ParameterList(map(torch.nn.Parameter, leaves_of(executor).values()))

    def forward(self, x):
        w, b, v, c = self.leaves
        return (x @ w.T + b).tanh() @ v.T + c


def train_peer(peer, steps, rate=0.1, size=40, max_norm=None, after=lambda step: None):
    images, labels = draw(steps * size)
    optimizer, norms = torch.optim.SGD(peer.parameters(), lr=rate), []
    for step in range(steps):
        part = slice(step * size, (step + 1) * size)
        optimizer.zero_grad()
        x = torch.tensor(images[part].reshape(size, -1) / 255.0)
        torch.nn.functional.cross_entropy(peer(x), torch.tensor(labels[part])).backward()
        if max_norm:
            norms.append(float(torch.nn.utils.clip_grad_norm_(peer.parameters(), max_norm)))
        optimizer.step()
        after(step)
    return norms


def assert_equal_parameters(executor, flat, leaves, steps):
    for (name, found), leaf in zip(executor.network.views(flat).items(), leaves, strict=True):
        np.testing.assert_allclose(found, leaf.detach(), rtol=0, atol=64 * EPS * steps**0.5, err_msg=name)


def test_average_follows_pytorch():
    steps, decay = 60, 0.9
    executor = executor_for(Optimizer(momentum=0.0, average=decay))
    peer = Peer(executor)

    def average(mean, new, count):
        return mean + (new - mean) * max(1 - decay, 10 / (10 + count))

    averaged = AveragedModel(peer, avg_fn=average)
    train(executor, steps)
    train_peer(peer, steps, after=lambda step: averaged.update_parameters(peer))
    assert_equal_parameters(executor, executor.theta, peer.leaves, steps)
    assert_equal_parameters(executor, executor.judged, averaged.module.leaves, steps)
    assert np.abs(executor.judged - executor.theta).max() > 1e-3


def test_clipping_follows_pytorch():
    steps, max_norm = 30, 0.25
    executor = executor_for(Optimizer(momentum=0.0, max_norm=max_norm))
    peer = Peer(executor)
    train(executor, steps, rate=0.5)
    norms = train_peer(peer, steps, rate=0.5, max_norm=max_norm)
    assert min(norms) < max_norm < max(norms)  # some steps are clipped and some are not
    assert_equal_parameters(executor, executor.theta, peer.leaves, steps)


def test_bits_do_not_depend_on_threads():
    section = Optimizer(name="adamw", learning_rate=0.01, max_norm=0.2, average=0.9)
    found = [train(executor_for(section, threads), 5, size=150) for threads in (1, 2, 7)]
    assert len({executor.theta.tobytes() + executor.state.tobytes() for executor in found}) == 1


PARAMETERS = ("dense1.kernel", "dense1.bias")
TEXT = """
data: {name: bars, batch_size: 20, samples: 200, validation: 50}
augment: {shift: 1, noise: 0.05}
network: {layers: [flatten, {type: dense, units: 2, activation: softmax}]}
optimizer: {name: adamw, learning_rate: 0.01, average: 0.9, max_norm: 0.5}
train: {epochs: 4, threads: 1}
"""


def test_resumed_run_equals_uninterrupted_one_and_keeps_the_average(tmp_path):
    whole = start_run(read_config(TEXT, "whole"), out=tmp_path / "whole")
    half = start_run(read_config(TEXT, "half", ["train.epochs=2"]), out=tmp_path / "half")
    again = resume_run(half.path, ["train.epochs=4"])
    for name in ("best", "last"):
        a, b = (Checkpoint.read(run.path / f"{name}.safetensors").tensors for run in (whole, again))
        assert {key: value.tobytes() for key, value in a.items()} == {key: value.tobytes() for key, value in b.items()}
    last = Checkpoint.read(whole.path / "last.safetensors").tensors
    model = Model(whole.path, "last", threads=1)
    found = model.network.views(model.executor.theta)["dense1.kernel"]
    np.testing.assert_array_equal(found, last["optimizer.2.dense1.kernel"])  # after Adam's two states
    assert np.abs(found - last["dense1.kernel"]).max() > 1e-4
    if whole.summary["best_epoch"] == 4:
        np.testing.assert_array_equal(last["best.dense1.kernel"], found)
    assert model.evaluate().accuracy == Model(whole.path, "last", threads=2).evaluate().accuracy


def views(model):
    return model.network.views(model.executor.theta)


@pytest.mark.parametrize("told", [True, False], ids=["the file tells", "the configuration tells"])
@pytest.mark.parametrize("name", ["best", "last"])
def test_averages_are_what_every_command_takes_of_a_checkpoint(tmp_path, name, told):
    """Also of runs whose checkpoints do not say yet which tensors count."""
    run = start_run(read_config(TEXT, "run", ["augment.noise=0"]), out=tmp_path / "run").path
    checkpoint = Checkpoint.read(run / f"{name}.safetensors")
    if not told:
        del checkpoint.state["judged"]
        checkpoint.write()
    averages = {key: checkpoint.tensors[f"optimizer.2.{key}" if name == "last" else key] for key in PARAMETERS}
    model, subject = Model(run, name, threads=1), find_subject(str(run), [], name)
    exported = np.load(export_run(run, "npz", tmp_path / "x.npz", name).path)
    torch_like = load_file(export_run(run, "safetensors", tmp_path / "x.safetensors", name).path)
    again = Model(import_weights(checkpoint.path, model.loaded, tmp_path / "imported").path, threads=1)
    for key, average in averages.items():
        for found in (
            *(views(model)[key], views(again)[key], subject.parameters[key]),
            *(exported[key], torch_like[key.replace("kernel", "weight")]),
        ):
            np.testing.assert_array_equal(found, average)
    image = load_data(model.loaded).test_images[:1]
    explained = explain(subject, Sample(image[0], "", None)).outputs
    np.testing.assert_allclose(explained, model.predict_proba(image)[0], atol=1e-6)


def test_network_that_has_not_begun_has_no_averages_yet(tmp_path):
    run = start_run(read_config(TEXT, "run"), out=tmp_path / "run").path
    made = import_weights(run / "best.safetensors", load_run_config(run), tmp_path / "imported").path
    np.testing.assert_array_equal(Model(made, "last").executor.theta, Model(run).executor.theta)


def test_best_parameters_are_the_validated_average(tmp_path):
    run = start_run(read_config(TEXT, "best"), out=tmp_path / "run")
    best = run.history[run.summary["best_epoch"] - 1]
    model = Model(run.path, threads=1)
    trainer = Trainer(model.loaded, load_data(model.loaded))
    images = trainer.dataset.train_images[trainer.val_indices]
    found = model.evaluate(images, trainer.dataset.train_labels[trainer.val_indices])
    assert (found.accuracy, found.loss) == (best["val_accuracy"], pytest.approx(best["val_loss"], rel=1e-6))


def test_early_stopping_waits_and_keeps_the_best(tmp_path):
    text = TEXT.replace("epochs: 4", "epochs: 60, patience: 3, min_delta: 0.02")
    run = start_run(read_config(text, "early"), out=tmp_path / "run")
    accuracies = [line["val_accuracy"] for line in run.history]
    assert len(accuracies) < 60
    risen, best = 0, -1.0
    for epoch, accuracy in enumerate(accuracies, 1):
        assert epoch - risen <= 3  # it stopped as soon as it could
        if accuracy > best + 0.02:
            risen, best = epoch, accuracy
    assert len(accuracies) - risen == 3
    order = sorted(run.history, key=lambda line: (line["val_accuracy"], -line["val_loss"]))
    assert run.summary["best_epoch"] == order[-1]["epoch"]


def test_patience_counts_epochs_without_a_rise():
    assert not Progress(epoch=4, risen_epoch=2).stalled(3)
    assert Progress(epoch=5, risen_epoch=2).stalled(3)
    assert not Progress(epoch=5, risen_epoch=2).stalled(None)


def test_patience_needs_validation_images():
    with pytest.raises(ConfigError, match=r"train\.patience: expected null without validation images"):
        read_config(TEXT.replace("validation: 50", "validation: 0").replace("threads: 1", "patience: 2"), "x")
