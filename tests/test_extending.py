"""An activation, a loss, an optimiser and a layer that the package does not know, each added by its row in a table."""

import json

import numpy as np
import pytest
import torch
from extension.scale import KERNELS, Scale
from harness import make_executor, normalized
from node import for_scripts, packed, run_scripts

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.config.config import config_schema, read_config
from lenumba.engine.explain import cases as cases_module
from lenumba.engine.explain import plain, selftest
from lenumba.engine.network.activations import ACTIVATIONS, Function
from lenumba.engine.network.layers import LAYERS
from lenumba.engine.network.losses import LOSSES, Loss, mean_over
from lenumba.engine.network.optimizers import OPTIMIZERS, Optimizer, make_optimizer
from lenumba.engine.network.tables import Operator
from lenumba.engine.training.buffers import planar
from lenumba.engine.training.build import build_network
from lenumba.kernels.compile.native import kernel_files
from lenumba.kernels.program.catalogue import CATALOGUE, known_kernels
from lenumba.kernels.program.source import program_source

RECIPE = """\
data: {name: digits, samples: 640, validation: 128, batch_size: 32}
network:
  layers:
    - {type: conv, channels: 3, kernel_size: 5, stride: 3, activation: softplus}
    - scale
    - flatten
    - {type: dense, units: 10}
loss: {name: huber}
optimizer: {name: rmsprop, learning_rate: 0.01, weight_decay: 0.01, beta2: 0.9, epsilon: 0.01}
train: {epochs: 2, threads: 2}
"""


def huber(outputs, target):
    mean, over, k = mean_over(outputs)
    return f"a{k} = z{k}", f"L = {mean}h(a{k} − {target})", f"δ{k} = max(−1, min(1, a{k} − {target})){over}"


class RMSprop(Optimizer):
    """Hinton's, as in torch.optim; α is the setting `beta2`."""

    name, moments, module, twins = "rmsprop", 2, "extension.kernels", "extension.twins"

    def row(self, rate, step):
        c = self.config
        return rate, c.weight_decay, c.beta2, c.epsilon, c.momentum, 1 - c.beta2

    def gradient_row(self):
        return 0, 0, 1, 1, 0, 0

    def twin_arguments(self, step):
        return self.config.beta2, self.config.epsilon, self.config.momentum

    def equation(self):
        return f"θ ← θ − η·Δθ/({(1 - self.config.beta2) ** 0.5:.3g}·|Δθ| + {self.config.epsilon:g})"


ROWS = [
    (
        ACTIVATIONS,
        "softplus",
        Function(
            "softplus",
            Operator("Softplus"),
            ("y = log(1 + eˣ)", "1 − e⁻ʸ"),
            ("(x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))", "(y) => 1 - Math.exp(-y)"),
            module="extension.kernels",
            twins="extension.twins",
        ),
    ),
    (
        LOSSES,
        "huber",
        Loss(
            "huber",
            "huber",
            huber,
            """(z, t) => {
              const sizes = z.map((value, k) => Math.abs(value - t[k]));
              const loss = sizes.reduce((sum, d) => sum + (d <= 1 ? d * d / 2 : d - 0.5) / z.length, 0);
              const dz = z.map((value, k) => Math.max(-1, Math.min(1, value - t[k])) / z.length);
              return { outputs: z, loss, dz };
            }""",
            single=True,
            module="extension.kernels",
            twins="extension.twins",
        ),
    ),
    (OPTIMIZERS, "rmsprop", RMSprop),
    (LAYERS, "scale", Scale),
    *((CATALOGUE, name, row) for name, row in KERNELS.items()),
]
BEFORE = [list(table) for table, _, _ in ROWS]


@pytest.fixture
def added():
    for table, name, row in ROWS:
        table[name] = row
    yield
    for table, name, _ in ROWS:
        del table[name]


@pytest.fixture
def recipe(added, place):
    (place / "new.yaml").write_text(RECIPE)
    return read_config(RECIPE, "new.yaml")


def executor_of(recipe):
    network, optimizer = build_network(recipe, (28, 28, 1)), make_optimizer(recipe.config.optimizer)
    program, theta = network.compile(optimizer), network.initial_parameters(0)
    return make_executor(network, program, theta, threads=2, optimizer=optimizer)


def test_configurations_take_the_names_that_the_tables_have(place):
    with pytest.raises(ConfigError) as refused:
        read_config(RECIPE, "new.yaml")
    lines = str(refused.value).splitlines()
    for line, name in zip(lines, ("softplus", "scale", "huber", "rmsprop"), strict=True):
        assert "expected one of " in line
        assert line.endswith(f'found "{name}"')
    assert "softplus" not in json.dumps(config_schema())


def test_configurations_take_added_names_and_the_schema_lists_them(recipe):
    assert recipe.config.network.layers[1] == Scale()
    text = json.dumps(config_schema())
    assert all(f'"{name}"' in text for name in ("softplus", "huber", "rmsprop", "scale"))
    with pytest.raises(ConfigError, match="did you mean 'softplus'"):
        read_config(RECIPE.replace("softplus", "softplas"), "new.yaml")


def test_training_follows_pytorch(recipe):
    executor = executor_of(recipe)
    network, settings = executor.network, recipe.config.optimizer
    rng = np.random.default_rng(0)
    images, labels = planar(rng.integers(0, 256, (160, 28, 28, 1), np.uint8)), rng.integers(0, 10, 160)
    leaves = {name: torch.tensor(np.array(view, np.float64)) for name, view in network.views(executor.theta).items()}
    for leaf in leaves.values():
        leaf.requires_grad_()
    kernels = [leaf for name, leaf in leaves.items() if name.endswith("kernel")]
    biases = [leaf for name, leaf in leaves.items() if name.endswith("bias")]
    peer = torch.optim.RMSprop(
        [{"params": kernels, "weight_decay": settings.weight_decay}, {"params": biases}],
        lr=settings.learning_rate, alpha=settings.beta2, eps=settings.epsilon, momentum=settings.momentum,
    )  # fmt: skip
    functional, losses = torch.nn.functional, []
    for start in range(0, 160, 32):
        x = torch.tensor(normalized(executor, images[start : start + 32]))
        y = functional.conv2d(x, leaves["conv1.kernel"], leaves["conv1.bias"], stride=3)
        y = functional.softplus(y) * leaves["scale1.kernel"][:, None, None]
        z = y.flatten(1) @ leaves["dense1.kernel"].T + leaves["dense1.bias"]
        target = functional.one_hot(torch.tensor(labels[start : start + 32]), 10).double()
        loss = torch.nn.HuberLoss()(z, target)
        peer.zero_grad()
        loss.backward()
        peer.step()
        losses.append(32 * loss.item())
    hyper = executor.optimizer.hyper(np.full(5, settings.learning_rate), 1)
    _, totals = executor.train(images, labels, np.arange(160), 32, hyper)
    # ε = 0.01 keeps an update's derivative by the gradient below 100; gradients are off by some 10⁻⁷.
    assert totals[0] == pytest.approx(sum(losses), rel=1e-4)
    for name, view in network.views(executor.theta).items():
        np.testing.assert_allclose(view, leaves[name].detach().numpy(), atol=2e-4, err_msg=name)


def test_selftest_finds_what_was_added_and_compares_it_with_its_twins(added):
    cases = cases_module.all_cases()
    more = cases[len(cases_module.CASES) :]
    assert [case.name for case in more] == ["softplus", "huber", "rmsprop", "scale"]
    assert set().union(*(case.kernels for case in cases)) == known_kernels().keys() - {"augment"}
    for case in more:
        outcome = selftest.run_case(case)
        assert outcome.fault is None
        assert 0 < outcome.error < cases_module.TOLERANCE


def test_cache_knows_the_kernels_wherever_they_lie(recipe):
    network = build_network(recipe, (28, 28, 1))
    files = kernel_files(program_source(network.plan(make_optimizer(recipe.config.optimizer))).text)
    assert {"extension.kernels", "lenumba.kernels.layers.conv"} <= files


def test_page_computes_what_the_plain_loops_do(recipe):
    executor = executor_of(recipe)
    network = executor.network
    rng = np.random.default_rng(1)
    images, labels = planar(rng.integers(0, 256, (3, 28, 28, 1), np.uint8)), np.array([3, 0, 9])
    body = """answer(given.labels.map((label, n) => {
      const trace = network.forward(image(n)), verdict = network.judge(trace.outputs.at(-1), label);
      const { gradients } = network.backward(trace, verdict.dz);
      const flat = gradients.flatMap((own) => Object.values(own).map((values) => Array.from(values)));
      return { loss: verdict.loss, gradients: flat };
    }));"""
    found = run_scripts(body, labels=labels.tolist(), pixels=packed(images[:3]), **for_scripts(network, executor))
    pixels = normalized(executor, images[:3])
    for n, label in enumerate(labels):
        loss, _, gradients = plain.loss_and_gradients(
            network, network.views(executor.theta), pixels[n : n + 1], np.array([label])
        )
        assert found[n]["loss"] == pytest.approx(loss, rel=1e-9)
        for mine, theirs in zip(found[n]["gradients"], gradients.values(), strict=True):
            np.testing.assert_allclose(mine, theirs.ravel(), rtol=1e-6, atol=1e-9)


def test_every_command_works_with_what_was_added(recipe, lenumba):
    def done(*arguments):
        result = lenumba(*arguments)
        assert result.exit_code == 0, result.stderr
        return result.stdout

    done("train", "new.yaml", "--out", "run", "plots=true")
    text = done("explain", "run")
    for equation in ("y = log(1 + eˣ)", "W_c·x_c(i,j)", "h(a_k − y_k)", "θ ← θ − η·Δθ/(0.316·|Δθ| + 0.01)"):
        assert equation in text
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    done("export", "run", "--out", "new.onnx")  # is checked against the compiled network, and else not written
    table = done("profile", "new.yaml", "--seconds", "0")
    for kernel in ("scale_channels", "scale_weight_gradient", "huber", "rmsprop"):
        assert kernel in table
    done("report", "run", "--out", "new.html")
    done("check", "new.yaml")


def test_tables_are_as_before():
    assert [list(table) for table, _, _ in ROWS] == BEFORE
