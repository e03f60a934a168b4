"""Networks that leave and come back: ONNX, safetensors and npz."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from harness import lenet, make_executor, make_network, random_batch, random_parameters
from peer import torch_network
from safetensors.numpy import load_file, save_file

from lenumba.engine.data.normalization import Normalization
from lenumba.engine.models.export import open_session, torch_tensors
from lenumba.engine.models.model import load
from lenumba.engine.training.judging import read_logits
from lenumba.kernels.constants import LANES

SOFTMAX = {"type": "dense", "units": 5, "activation": "softmax"}
EVERYTHING = [
    {"type": "conv", "channels": 3, "kernel_size": [3, 2], "padding": [2, 0, 1, 3], "activation": "leaky_relu"},
    {"type": "max_pool", "size": 3, "stride": 2, "padding": 1},
    {
        "type": "conv",
        "channels": 4,
        "kernel_size": 3,
        "stride": [2, 1],
        "padding": "same",
        "orientation": "convolution",
    },
    {"type": "activation", "function": "hard_swish"},
    {"type": "dropout", "rate": 0.5},
    {"type": "average_pool", "size": [2, 3], "stride": 1, "padding": [1, 2]},
    {"type": "conv", "channels": 3, "kernel_size": 2, "bias": False, "activation": "relu6"},
    {"type": "average_pool", "size": 3, "stride": 1, "padding": 1, "count_padding": False},
    "flatten",
    {"type": "dense", "units": 9, "activation": "silu"},
    {"type": "dropout", "rate": 0.2},
    {"type": "dense", "units": 7, "bias": False},
]
ENDS = {
    "softmax": [SOFTMAX],
    "sigmoid": [SOFTMAX | {"activation": "sigmoid"}],
    "squared error": [SOFTMAX | {"activation": "tanh"}],
    "single": [{"type": "dense", "units": 1, "activation": "sigmoid"}],
}


# The first has everything; to compile the others takes less.
NETWORKS = {"softmax": [*EVERYTHING, *ENDS["softmax"]]}
NETWORKS |= {end: ["flatten", *EVERYTHING[-1:], *ENDS[end]] for end in ("sigmoid", "squared error", "single")}
NETWORKS |= {f"global {kind}": [EVERYTHING[0], f"global_{kind}_pool", SOFTMAX] for kind in ("average", "max")}
LONG = ("sigmoid", "squared error")


def expand(layers):
    return [{"type": layer} if isinstance(layer, str) else layer for layer in layers]


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.long("compiles for long")] * (name in LONG)) for name in NETWORKS],
)
def test_onnx_computes_what_the_compiled_network_does(name):
    pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from lenumba.engine.models.onnx_graph import onnx_model
    from lenumba.engine.network.optimizers import SGD, Hyperparameters

    network = make_network(expand(NETWORKS[name]), (12, 11, 2), "everything")
    still = SGD(Hyperparameters())
    theta = random_parameters(network)
    executor = make_executor(network, network.compile(still), theta)
    images, _ = random_batch(network, 37)
    planes = np.concatenate([images.ravel(), np.zeros(LANES, np.uint8)])[: images.size].reshape(images.shape)
    logits, outputs = read_logits(executor, planes)
    normalization = Normalization(np.linspace(0.1, 0.3, 2), np.linspace(0.3, 0.4, 2))  # make_executor's
    tensors = torch_tensors(network, network.views(theta))
    data = onnx_model(network, tensors, normalization, ["a"] * 5, "0").SerializeToString()
    for reference_only in (False, True):
        found = open_session(data, reference_only)(images.astype(np.float32))
        assert np.abs(found[0] - logits).max() < 1e-5
        assert np.abs(found[1] - outputs).max() < 1e-5


def test_exported_tensors_load_into_a_torch_module_and_give_the_same_outputs():
    network = lenet("tanh", orientation="convolution")
    theta = random_parameters(network)
    views = network.views(theta)

    class Twin(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = torch.nn.Conv2d(1, 4, 5), torch.nn.Conv2d(4, 6, 5)
            self.dense1, self.dense2 = torch.nn.Linear(96, 50), torch.nn.Linear(50, 10)

        def forward(self, x):
            x = torch.nn.functional.avg_pool2d(self.conv1(x).tanh(), 2)
            x = torch.nn.functional.avg_pool2d(self.conv2(x).tanh(), 2)
            return self.dense2(self.dense1(x.flatten(1)).tanh()).softmax(1)

    twin = Twin()
    twin.load_state_dict({name: torch.from_numpy(a) for name, a in torch_tensors(network, views).items()})
    images = np.random.default_rng(0).random((8, 1, 28, 28))
    expected = torch_network(network, views, images, np.zeros(8, np.int64))[1]
    found = twin.double()(torch.from_numpy(images)).detach().numpy()
    assert np.abs(found - expected).max() < 1e-12


@pytest.mark.parametrize("kind", ["safetensors", "npz"])
def test_round_trip_keeps_every_bit(lenumba, run, kind):
    assert lenumba("export", "latest", "--format", kind).exit_code == 0
    made = lenumba("import", f"tiny-001.{kind}", "--config", "tiny.yaml", "--out", "back")
    assert made.exit_code == 0, made.stderr
    before, after = load(run), load("back")
    assert np.array_equal(before.executor.theta, after.executor.theta)
    assert np.array_equal(before.executor.scale, after.executor.scale)
    assert np.array_equal(before.executor.shift, after.executor.shift)
    figures = [json.loads(lenumba("evaluate", name, "--json").stdout) for name in (run, "back")]
    for found in figures:  # what is fitted on validation images, of which no import knows
        del found["calibration"], found["thresholds"], found["notes"]
    assert figures[0] == figures[1]
    assert lenumba("train", "--resume", "back", "-q").exit_code == 0
    assert json.loads(Path("back/run.json").read_text())["epochs"] == 3


def test_onnx_of_a_run_is_checked_and_never_overwrites(lenumba, refused, run):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    shown = lenumba("export", "latest", "--out", "net.onnx")
    assert shown.exit_code == 0, shown.stderr
    assert "on 1000 test images" in shown.stdout
    assert "; 0 classes differ" in shown.stdout
    content = Path("net.onnx").read_bytes()
    assert "--force" in refused(2, "export", "latest", "--out", "net.onnx")
    assert lenumba("export", "latest", "--out", "net.onnx", "--force").exit_code == 0
    assert Path("net.onnx").read_bytes() == content
    assert "folder" in refused(2, "export", "latest", "--out", ".", "--force")
    assert "cannot write" in refused(3, "export", "latest", "--out", "absent/net.onnx")


def test_missing_package_is_named_with_the_command_to_install_it(refused, run, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'lenumba[export]'" in refused(3, "export", "latest")


def test_other_names_are_matched_by_shape_with_a_note(lenumba, run):
    tensors = load(run).network.views(load(run).executor.theta)
    save_file({"2.weight": tensors["dense1.kernel"].copy(), "2.bias": tensors["dense1.bias"].copy()}, "x.safetensors")
    made = lenumba("import", "x.safetensors", "--config", "tiny.yaml", "--out", "back")
    assert made.exit_code == 0, made.stderr
    assert "2 is dense1" in made.stdout
    assert np.array_equal(load("back").executor.theta, load(run).executor.theta)
    assert np.allclose(load("back").executor.scale, load(run).executor.scale)  # computed from the data


def test_every_tensor_that_does_not_fit_has_a_line(lenumba, place):
    save_file({"dense1.weight": np.zeros((9, 49), np.float32), "bn.mean": np.zeros(3, np.float32)}, "x.safetensors")
    result = lenumba("import", "x.safetensors", "--config", "tiny.yaml")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 3
    for words in ("dense1.weight: expected 10×49, found 9×49", "expected dense1.bias 10, found none", "bn.mean 3: no"):
        assert words in result.stderr
    assert not Path("runs").exists()


def test_damaged_and_foreign_files_exit_with_3(lenumba, refused, run):
    for kind in ("safetensors", "npz"):
        lenumba("export", "latest", "--format", kind, "--out", f"x.{kind}")
        content = bytearray(Path(f"x.{kind}").read_bytes())
        for damaged in (content[:-9], content[:20], b"", bytes(content[:900]) + b"\x7f" + bytes(content[901:])):
            Path("y").write_bytes(damaged)
            refused(3, "import", "y", "--config", "tiny.yaml")
    values = load_file("x.safetensors")
    for bad in (np.nan, np.inf):
        values["dense1.bias"][3] = bad
        save_file(values, "y")
        assert "at [3]" in refused(3, "import", "y", "--config", "tiny.yaml")
    np.savez("y.npz", **{"os.system": np.zeros(3, np.float32)})
    assert "'os.system'" in refused(3, "import", "y.npz", "--config", "tiny.yaml")
    np.savez("y.npz", **{"dense1.bias": np.array([{}])})
    refused(3, "import", "y.npz", "--config", "tiny.yaml")
    refused(3, "import", "absent", "--config", "tiny.yaml")
    refused(3, "import", ".", "--config", "tiny.yaml")


def test_onnx_agrees_on_all_of_mnist(lenumba, place, mnist_root):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    lenumba("train", "lenet", f"data.root={mnist_root}", "train.epochs=1", "--out", "net", "-q")
    assert lenumba("export", "net").exit_code == 0
    from lenumba.engine.data.dataset import load_dataset
    from lenumba.engine.training.buffers import planar

    planes = planar(load_dataset("mnist", mnist_root).test_images)
    logits, outputs = read_logits(load("net").executor, planes)
    found = open_session(Path("net.onnx").read_bytes())(planes.astype(np.float32))
    assert np.abs(found[0] - logits).max() < 1e-4, np.abs(found[0] - logits).max()
    assert np.array_equal(found[1].argmax(1), outputs.argmax(1))


def test_graph_that_computes_something_else_is_not_written(refused, run, monkeypatch):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from lenumba.engine.network.layers import AveragePool, MaxPool

    monkeypatch.setattr(AveragePool, "operators", MaxPool.operators)
    assert "not written, as it would differ by more than 0.001" in refused(3, "export", "latest")
    assert not list(Path().glob("*.onnx"))
