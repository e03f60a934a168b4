"""`lenumba explain`: its numbers against PyTorch, its equations against its numbers, its text against its numbers."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from harness import random_parameters
from peer import tensor, torch_network, torch_unit
from PIL import Image

from lenumba.engine.config.config import read_config
from lenumba.engine.data.normalization import Normalization
from lenumba.engine.explain.explain import Explanation, explain
from lenumba.engine.explain.explain_text import explanation_text
from lenumba.engine.explain.subject import Sample, Subject, exact
from lenumba.engine.network.layers import AveragePool, Conv, MaxPool
from lenumba.engine.network.losses import LOSSES
from lenumba.engine.training.build import build_network
from lenumba.kernels.program.catalogue import find_twin
from lenumba.kernels.reference.twin import interpreted

EXACT = {"rtol": 1e-9, "atol": 1e-12}  # float64 sums of at most 10³ terms of size 1
NETWORK = """\
data: {name: npz, root: nowhere}
network:
  layers:
    - {type: conv, channels: 3, kernel_size: [3, 2], stride: [2, 1], padding: [1, 0, 2, 1], activation: tanh,
       orientation: convolution}
    - {type: average_pool, size: 2, stride: 1}
    - {type: conv, channels: 2, kernel_size: 2, padding: same, activation: leaky_relu}
    - {type: max_pool, size: 2, stride: 1}
    - flatten
    - {type: dense, units: 5, activation: sigmoid}
    - {type: dropout, rate: 0.5}
    - {type: dense, units: 4, activation: softmax}
"""
SHAPE = (6, 5, 2)
NORMALIZATION = Normalization(np.array([0.2, 0.4]), np.array([0.5, 0.3]))
OPTIMIZERS = [
    ("sgd", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, torch.optim.SGD),
    ("sgd", {"momentum": 0.9}, torch.optim.SGD),
    ("adamw", {"weight_decay": 0.1}, torch.optim.AdamW),
    ("adam", {"weight_decay": 0.1}, torch.optim.Adam),
]


def explained(**overrides) -> Explanation:
    loaded = read_config(NETWORK, "explained.yaml", {key.replace("__", "."): value for key, value in overrides.items()})
    network = build_network(loaded, SHAPE)
    parameters = exact(network.views(random_parameters(network)))
    subject = Subject(loaded, "a network", network, parameters, NORMALIZATION, ("a", "b", "c", "d"))
    pixels = np.random.default_rng(1).integers(0, 256, SHAPE, np.uint8)
    return explain(subject, Sample(pixels, "an image", 2))


@pytest.mark.parametrize(("name", "settings", "kind"), OPTIMIZERS, ids=["nesterov", "momentum", "adamw", "adam"])
def test_every_number_is_pytorchs(name, settings, kind):
    overrides = {f"optimizer__{key}": value for key, value in settings.items()}
    found = explained(optimizer__name=name, optimizer__learning_rate=0.02, loss__label_smoothing=0.1, **overrides)
    network, parameters = found.subject.network, found.subject.parameters
    image = (found.sample.pixels.transpose(2, 0, 1) / 255 - [[[0.2]], [[0.4]]]) / [[[0.5]], [[0.3]]]
    np.testing.assert_allclose(found.layers[0].x, image, **EXACT)

    leaves = {key: tensor(value, grad=True) for key, value in parameters.items()}
    x, outputs = tensor(image[np.newaxis]), []
    for layer in found.layers:
        if layer.unit.layer.kind != "dropout":
            own = {p.name: leaves[f"{layer.unit.name}.{p.name}"] for p in layer.unit.parameters}
            x = torch_unit(layer.unit, own, x)
        x = x * 1  # dropout's output is a value of its own
        x.retain_grad()
        outputs.append(x)
    loss = torch.nn.functional.cross_entropy(x, torch.tensor([2]), label_smoothing=0.1)
    loss.backward()
    assert found.loss == pytest.approx(loss.item(), rel=1e-12)
    np.testing.assert_allclose(found.outputs, torch.softmax(x[0], 0).detach(), **EXACT)
    for layer, y in zip(found.layers, outputs, strict=True):
        np.testing.assert_allclose(layer.y, y.detach().numpy().reshape(layer.y.shape), **EXACT)
        np.testing.assert_allclose(layer.delta, y.grad.numpy().reshape(layer.y.shape), **EXACT)

    decay = settings.get("weight_decay", 0.0)  # not PyTorch's default
    rest = {key: value for key, value in settings.items() if key != "weight_decay"}
    groups = [
        {"params": [leaf for key, leaf in leaves.items() if key.endswith(end)], "weight_decay": share}
        for end, share in (("kernel", decay), ("bias", 0.0))
    ]
    kind(groups, lr=0.02, **rest).step()
    for layer in found.layers:
        for key, value in layer.gradients.items():
            leaf = leaves[f"{layer.unit.name}.{key}"]
            np.testing.assert_allclose(value, leaf.grad, **EXACT)
            np.testing.assert_allclose(layer.updated[key], leaf.detach(), **EXACT)
    after = {key: leaf.detach().numpy() for key, leaf in leaves.items()}
    again = torch_network(network, after, image[np.newaxis], np.array([2]), 0.1)[0]
    assert found.loss_after == pytest.approx(again, rel=1e-12)


def test_gradients_are_slopes():
    """Finite differences, which no rule of differentiation enters."""
    found = explained()
    network, parameters, step = found.subject.network, found.subject.parameters, 1e-5
    label = Sample(found.sample.pixels, "", 2)
    for layer in found.layers:
        for key, gradient in layer.gradients.items():
            place = np.unravel_index(np.argmax(np.abs(gradient)), gradient.shape)
            losses = []
            for sign in (1, -1):
                moved = {name: value.copy() for name, value in parameters.items()}
                moved[f"{layer.unit.name}.{key}"][place] += sign * step
                subject = Subject(found.subject.loaded, "", network, moved, NORMALIZATION, ("a",) * 4)
                losses.append(explain(subject, label).loss)
            # Central differences are off by step² times the third derivative, and by rounding / step.
            assert gradient[place] == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-5, abs=1e-9)


GEOMETRIES = [
    Conv(channels=2, kernel_size=(3, 2), stride=(2, 1), padding=(1, 0, 2, 1)),
    Conv(channels=2, kernel_size=(3, 2), stride=(1, 2), padding=2, orientation="convolution"),
    Conv(channels=1, kernel_size=3),
    Conv(channels=1, kernel_size=3, orientation="convolution"),
]


@pytest.mark.parametrize("layer", GEOMETRIES, ids=lambda layer: f"{layer.orientation}-{layer.stride}-{layer.padding}")
def test_printed_equation_of_a_convolution_computes_what_it_says(layer):
    """The indices are read from the text and evaluated, for the output and for the kernel's gradient."""
    rng, shape = np.random.default_rng(0), (2, 6, 5)
    (channels, height, width), (maps, rows, columns) = shape, layer.output_shape(shape)
    kernel = rng.normal(size=layer.parameters(shape)[0].shape)
    x, b, delta = rng.normal(size=shape), rng.normal(size=maps), rng.normal(size=(maps, rows, columns))
    equations = layer.equations(shape)
    row, column = re.search(r"x_c\((.+?), (.+?)\)", equations.y).groups()
    assert f"x_c({row}, {column})" in equations.gradients["kernel"]
    assert f"{row} = r, {column} = q" in equations.x
    row, column = (re.sub(r"(\d)([ij])", r"\1*\2", text.replace("−", "-")) for text in (row, column))
    y, slopes = np.zeros((maps, rows, columns)) + b[:, None, None], np.zeros(kernel.shape)
    for m, i, j, c, u, v in np.ndindex(maps, rows, columns, channels, *kernel.shape[2:]):
        r, q = eval(row, {"i": i, "u": u}), eval(column, {"j": j, "v": v})
        if 0 <= r < height and 0 <= q < width:
            y[m, i, j] += x[c, r, q] * kernel[m, c, u, v]
            slopes[m, c, u, v] += delta[m, i, j] * x[c, r, q]
    with interpreted():
        parameters = {"kernel": kernel, "bias": b}
        np.testing.assert_allclose(layer.plain_forward(parameters, x[None])[0], y, **EXACT)
        found = layer.plain_backward(parameters, x[None], y[None], delta[None])[1]["kernel"]
    np.testing.assert_allclose(found, slopes, **EXACT)


def evaluated(equation: str, **values: float) -> float:
    """Evaluate the right side of an equation as it is printed, for single numbers."""
    text = re.split("=|←", equation, maxsplit=1)[1].replace(" (no biases)", "")
    for sign, operator in {"−": "-", "·": "*", "e^": "e**", ")²": ")**2"}.items():
        text = text.replace(sign, operator)
    text = re.sub(r"\|([^|]+)\|", r"abs(\1)", text)
    return eval(text.replace("log a", "log(a)"), {"e": np.e, "log": np.log, "abs": abs, **values})


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weight", [1.0, 2.5])
@pytest.mark.parametrize("label", [0, 1])
def test_printed_equations_of_a_single_output_compute_what_they_say(label, smoothing, weight):
    z = np.array([[0.7]])
    for loss in LOSSES.values():
        if loss.single and not (smoothing and not loss.smooths):
            output, value, delta = loss.written(1, smoothing, weight)
            a = evaluated(output, z=0.7)
            with interpreted():
                expected = find_twin(loss.twin())(z, np.array([label]), smoothing)
            found = evaluated(value, a=a, y=label), a, evaluated(delta, a=a, y=label)
            expected = [weight * expected[0], expected[2][0, 0], weight * expected[3][0, 0]]
            np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(("name", "settings", "kind"), OPTIMIZERS, ids=["nesterov", "momentum", "adamw", "adam"])
def test_printed_step_computes_what_it_says(name, settings, kind):
    found = explained(**{f"optimizer__{key}": value for key, value in {"name": name, **settings}.items()})
    layer = found.layers[0]
    value, gradient, updated = (
        values["kernel"].flat[0] for values in (layer.parameters, layer.gradients, layer.updated)
    )
    assert evaluated(found.update, θ=value, Δθ=gradient, η=found.rate) == pytest.approx(updated, rel=1e-12)


@pytest.mark.parametrize("max_norm", [0.01, 1000.0])
def test_step_of_clipped_gradients_is_pytorchs(max_norm):
    found = explained(optimizer__name="sgd", optimizer__momentum=0.0, optimizer__max_norm=max_norm)
    pairs = [(layer, key) for layer in found.layers for key in layer.parameters]
    leaves = [tensor(layer.parameters[key], grad=True) for layer, key in pairs]
    for leaf, (layer, key) in zip(leaves, pairs, strict=True):
        leaf.grad = tensor(layer.gradients[key])
    norm = float(torch.nn.utils.clip_grad_norm_(leaves, max_norm))
    assert 0.01 < norm < 1000
    torch.optim.SGD(leaves, lr=found.rate).step()
    for leaf, (layer, key) in zip(leaves, pairs, strict=True):
        np.testing.assert_allclose(layer.updated[key], leaf.detach(), rtol=1e-5)  # PyTorch divides by norm + 1e-6
    assert found.update.startswith(f"Δθ ← Δθ·min(1, {max_norm:g}/‖all Δθ‖); θ ← ")


def test_overlapping_windows_are_said_to_add_up():
    for pool in (AveragePool, MaxPool):
        assert "+=" in pool(size=3, stride=2).equations((1, 7, 7)).x
        assert "+=" not in pool(size=2).equations((1, 8, 8)).x


def test_a_sum_s_two_inputs_are_named_and_shown():
    conv = {"type": "conv", "channels": 2, "kernel_size": 1}
    residual = {"type": "residual", "layers": [{**conv, "norm": "batch"}], "shortcut": [conv]}
    dense = {"type": "dense", "units": 4, "activation": "softmax"}
    found = explained(network__layers=[{**conv, "kernel_size": 3}, residual, "flatten", dense])
    text = explanation_text(found, 120)
    assert "y = a + b, from its layers and its shortcut   (a is conv2_norm, b is conv3)" in text
    assert text.count("(x is conv1)") == 1  # in the shortcut; conv2 reads what stands before it
    (total,) = (layer for layer in found.as_dict()["layers"] if layer["name"] == "residual1")
    assert total["reads"] == ["conv2_norm", "conv3"]
    np.testing.assert_array_equal(np.add(total["x"], total["more_inputs"][0]), total["y"])
    whole = explanation_text(found, 100, "residual1")
    assert "a0 =" in whole
    assert "b1 =" in whole


@pytest.mark.parametrize("width", [80, 200])
def test_text_shows_every_value_of_a_small_network(lenumba, width):
    subject_lines = explanation_text(explained(), width).splitlines()
    assert max(map(len, subject_lines)) <= width
    text = lenumba("explain", "tiny15", env={"COLUMNS": str(width)}).stdout
    values = json.loads(lenumba("explain", "tiny15", "--json").stdout)
    printed = [float(word) for word in re.findall(r"(?<!\S)-?\d+(?:\.\d+)?(?:e[+-]\d+)?(?!\S)", text)]
    for layer in values["layers"]:
        tensors = [layer["y"], layer["delta"]]
        tensors += [p[key] for p in layer["parameters"].values() for key in ("value", "gradient", "updated")]
        for array in map(np.ravel, tensors):
            # Three digits of a tensor's largest value.
            close = np.abs(np.subtract.outer(array, printed)).min(axis=1)
            assert (close <= 0.006 * max(np.abs(array).max(), 1e-12)).all(), layer["name"]
    assert f"{values['loss']['value']:.6g} before the step, {values['update']['loss_after']:.6g} after" in text


def test_large_tensors_are_excerpts_and_one_layer_is_whole(lenumba, run):
    text = lenumba("explain", run, "3").stdout
    assert len(text.splitlines()) < 60
    assert max(map(len, text.splitlines())) <= 80
    whole = lenumba("explain", run, "3", "--layer", "pool1")
    values = json.loads(lenumba("explain", run, "3", "--layer", "pool1", "--json").stdout)
    [layer] = values["layers"]
    assert np.shape(layer["y"]) == (1, 7, 7)
    rows = [line.split() for line in whole.stdout.splitlines()]
    assert sum(len(row) == 7 for row in rows) >= 14  # y and δ


def test_run_explains_what_it_predicts(lenumba, run, tmp_path):
    from lenumba.engine.data.selection import load_data
    from lenumba.engine.models.model import load

    model = load(run)
    images = load_data(model.loaded).test_images[:3]
    for index, expected in enumerate(model.predict_proba(images)):
        values = json.loads(lenumba("explain", run, index, "--json").stdout)
        np.testing.assert_allclose(values["outputs"]["values"], expected, atol=1e-5)  # float32's against float64
    path = tmp_path / "5=five.png"
    Image.fromarray(np.pad(images[0, :, :, 0], 10)).save(path)
    guess = json.loads(lenumba("explain", run, path, "--json").stdout)
    assert guess["label"] == np.argmax(guess["outputs"]["values"])
    assert "the network's own answer" in lenumba("explain", run, path).stdout
    assert json.loads(lenumba("explain", run, path, "--label", "8", "--json").stdout)["label"] == 8


@pytest.mark.parametrize(
    ("code", "arguments", "says"),
    [
        (2, ["tiny16"], "did you mean 'tiny15'"),
        (2, ["missing/run"], "no run folder"),
        (2, ["tiny15", "--layer", "conv9"], "expected one of conv1, conv1_relu"),
        (2, ["tiny15", "--label", "round"], "expected one of horizontal, vertical"),
        (2, ["tiny15", "0", "train.seeds=1"], "did you mean 'seed'"),
        (3, ["tiny15", "500"], "choose one from 0 to 499"),
        (3, ["tiny15", "missing.png"], "missing.png"),
        (3, ["tiny15", "."], "found a folder"),
    ],
)
def test_mistakes_are_one_line(refused, code, arguments, says):
    assert says in refused(code, "explain", *arguments)


def test_nothing_is_compiled(place, monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "empty"))
    text = (
        "import sys\nfrom lenumba.cli import main\n"
        "try:\n    main()\nexcept SystemExit as left:\n    assert not left.code, left.code\n"
        "assert 'numba' not in sys.modules"
    )
    for arguments in (["tiny15"], ["tiny15", "--cell", "conv1_relu/0,1,1"]):
        subprocess.run([sys.executable, "-c", text, "explain", *arguments], check=True, stdout=subprocess.DEVNULL)
    assert not (tmp_path / "empty").exists()
