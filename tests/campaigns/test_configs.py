"""Random configurations: those that are accepted train a step, those that are refused name every fault with its line.

What is compiled: only the networks of :data:`COMPILED`, four with one or two losses each, for blocks of 16 images and
for single images, with three updates (SGD, Nesterov's momentum, AdamW); the full campaign counts 27 programs. Every
other accepted configuration has a random network, and takes its step in the plain twins (float64, plain loops that
Numba compiles), through everything but the compiled program: reading, checking, shapes, data, split, schedule, loss,
gradients and update.
"""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from drawn_configs import SHAPES, draw_layers, draw_valid, plain, spoil, write
from harness import normalized

from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.config.config import read_config
from lenumba.engine.data.dataset import load_dataset
from lenumba.engine.data.selection import split
from lenumba.engine.explain import plain as twins
from lenumba.engine.network.optimizers import make_optimizer
from lenumba.engine.network.schedules import learning_rates
from lenumba.engine.training.buffers import planar
from lenumba.engine.training.build import check_network
from lenumba.engine.training.trainer import Trainer
from lenumba.kernels.reference import steps as reference_steps

CONV = {"type": "conv", "channels": 2, "kernel_size": 3, "activation": "relu"}
COMPILED = tuple(
    (name, [*layers, {"type": "flatten"}, {"type": "dense", "units": SHAPES[name][1], "activation": last}])
    for name, layers, last in (
        ("bars", [], "softmax"),
        ("bars", [CONV], "sigmoid"),
        ("shapes", [{"type": "max_pool", "size": 4}], "softmax"),
        ("shapes", [{"type": "average_pool", "size": 4}], "tanh"),
    )
)
LINE = re.compile(r"f\.yaml:(\d+): ([\w.-]+): |f\.yaml: ([\w.-]+): ")


@pytest.fixture(scope="module")
def datasets():
    return {name: load_dataset(name) for name in SHAPES}


def plain_step(loaded, dataset) -> float:
    """Take one training step of a configuration without compiling its network; return the loss."""
    config = loaded.config
    network = check_network(loaded, dataset.image_shape, dataset.classes)
    indices, _ = split(loaded, dataset)
    chosen = indices[: min(4, config.data.batch_size)]
    mean, deviation = dataset.mean_and_std(indices)
    if config.data.normalize == "none":
        mean, deviation = 0 * mean, 0 * mean + 1
    executor = SimpleNamespace(scale=1 / (255 * deviation), shift=-mean / deviation)
    images, labels = normalized(executor, planar(dataset.train_images[chosen])), dataset.train_labels[chosen]
    theta = network.initial_parameters(config.train.seed)
    views = network.views(theta)
    smoothing = config.loss.label_smoothing
    loss, correct, gradients = twins.loss_and_gradients(network, views, images, labels, smoothing)
    assert 0 <= correct <= len(chosen)
    flat = np.zeros(network.size)
    for name, view in network.views(flat).items():
        view[...] = gradients[name]
    rate = learning_rates(config.schedule, config.optimizer.learning_rate, 0, 1, 10, config.train.epochs)[0]
    assert np.isfinite(make_optimizer(config.optimizer).hyper(np.array([rate]), 1)).all()
    before, state = theta.astype(np.float64), np.zeros((2, network.size))
    after, o = before.copy(), config.optimizer
    if o.name == "sgd":
        reference_steps.sgd(after, state[0], flat, rate, o.weight_decay, o.momentum, o.nesterov)
    else:
        getattr(reference_steps, o.name)(after, *state, flat, rate, o.weight_decay, o.beta1, o.beta2, o.epsilon, 1)
    assert np.isfinite(after).all()
    assert (after != before).any() or rate == 0 or not flat.any()
    return loss


def test_accepted_configurations_train_a_step(campaign, datasets):
    compiled, by_twin, programs = campaign.size(4, 300), campaign.size(25, 700), set()
    for seed in range(compiled):
        rng = np.random.default_rng([1, seed])
        name, layers = COMPILED[rng.integers(len(COMPILED)) if campaign.full else 0]
        data = draw_valid(rng, layers, name)
        if not campaign.full:  # one program
            data |= {"optimizer": {"name": "adamw"}}
            data["data"]["batch_size"] = 32
        loaded = read_config(write(data)[0], "f.yaml")
        trainer = Trainer(loaded, datasets[name])
        optimizer = trainer.optimizer
        programs.add(
            (
                name,
                str(layers),
                trainer.network.unit,
                trainer.network.loss.kernel,
                optimizer.name,
                str(optimizer.flags),
            )
        )
        before = trainer.executor.theta.copy()
        record = next(trainer.epochs())
        assert np.isfinite(record.train_loss), data
        assert (trainer.executor.theta != before).any(), data
    for seed in range(by_twin):
        rng = np.random.default_rng([2, seed])
        data = draw_valid(rng)
        loaded = read_config(write(data)[0], "f.yaml")
        assert np.isfinite(plain_step(loaded, datasets[data["data"]["name"]])), data
    campaign.note(
        f"{compiled + by_twin} valid configurations: {compiled} trained an epoch in {len(programs)} compiled programs, "
        f"{by_twin} of random networks took a step in the plain twins; seeds (1, 0…) and (2, 0…)"
    )


def test_refused_configurations_name_every_fault_with_its_line(campaign):
    count, faults, misses = campaign.size(150, 800), 0, []
    for seed in range(count):
        rng = np.random.default_rng([3, seed])
        drawn = spoil(rng, draw_valid(rng))
        with pytest.raises(ConfigError) as caught:
            read_config(drawn.text, "f.yaml")
        lines = str(caught.value).splitlines()
        matches = [LINE.match(line) for line in lines]
        assert all(matches), lines
        told = [(int(m[1]) if m[1] else None, m[2] or m[3]) for m in matches]
        # Of a list, the item that is wrong may be named.
        parts = [(line, path.rpartition(".")[0] if (line, path) not in drawn.places else path) for line, path in told]
        found = set(parts)
        faults += len(drawn.faults)
        if found != drawn.places or len(lines) != len(found):
            misses.append((seed, sorted(drawn.faults), lines))
    if campaign.full:
        campaign.note(f"{count} faulty configurations, {faults} faults: {len(misses)} told otherwise; seeds (3, 0…)")
    assert not misses, "\n".join(map(str, misses[:10]))


def test_layers_that_do_not_fit_are_named_with_their_line(campaign, datasets):
    """Shapes are checked after everything else; the first layer that does not fit ends that."""
    count = campaign.size(20, 200)
    for seed in range(count):
        rng = np.random.default_rng([4, seed])
        name = list(SHAPES)[rng.integers(2)]
        layers = plain(draw_layers(rng, name))
        flat = next(k for k, layer in enumerate(layers) if layer["type"] == "flatten")
        k = int(rng.integers(flat + 1))
        wrong = [
            {"type": "conv", "channels": 2, "kernel_size": 40},
            {"type": "max_pool", "size": 33, "stride": 1},
            {"type": "average_pool", "size": 2, "padding": 2},
        ]
        layers.insert(k, wrong[rng.integers(len(wrong))])
        if rng.random() < 0.2:  # what only the outputs show
            layers.pop(k)
            k = len(layers) - 1
            layers[k]["units"] = 9
        data = {"data": {"name": name}, "network": {"layers": layers}}
        text, lines = write(data)
        loaded = read_config(text, "f.yaml")
        with pytest.raises((ConfigError, DataError)) as caught:
            check_network(loaded, datasets[name].image_shape, datasets[name].classes)
        assert str(caught.value).startswith(f"f.yaml:{lines[f'network.layers.{k}']}: network.layers.{k}: "), seed
        assert len(str(caught.value).splitlines()) == 1
    if campaign.full:
        campaign.note(f"{count} configurations with a layer that does not fit, each named with its line; seeds (4, 0…)")
