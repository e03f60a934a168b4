"""Networks as C files: they compute what the network does, and in whole numbers what TensorFlow Lite does."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from deployed import STRICT, answers, build, write_c
from drawn_networks import draw_graph, draw_network
from harness import lenet, make_network, random_batch, random_parameters
from peer import tensor, torch_logits
from tflite_network import read_tflite

from lenumba.engine.config.config import load_config
from lenumba.engine.config.recipes import recipe_names
from lenumba.engine.data.normalization import Normalization
from lenumba.engine.deploy import arena, floats, int8
from lenumba.engine.deploy.calibration import Int8Assessment, calibrate
from lenumba.engine.deploy.export import identifier
from lenumba.engine.deploy.lowering import lower, lower_run
from lenumba.engine.deploy.onnx_int8 import list_operators
from lenumba.engine.deploy.quantize import quantize
from lenumba.engine.models.evaluation import Evaluation
from lenumba.engine.models.model import load
from lenumba.engine.models.onnx_graph import onnx_file
from lenumba.engine.training.build import build_network

PUBLISHED = ("resnet8", "vww", "kws", "kws-ref", "ad")
SLOW = ("vww", "resnet8")  # so fewer cases, but for a campaign


def drawn(seed: int, draw=draw_network):
    """A random network as a graph, images, and what PyTorch gives for them."""
    network = draw(seed)[0]
    theta, images = random_parameters(network, seed), random_batch(network, 5, seed)[0]
    rng = np.random.default_rng(seed)
    for name, view in network.views(theta).items():  # norms that do something
        if name.endswith((".weight", ".running_var", ".running_mean")):
            view[...] = rng.uniform(0.5, 1.5, view.shape)
    channels = network.input_shape[0]
    normalization = Normalization(np.linspace(0.1, 0.3, channels), np.linspace(0.3, 0.4, channels))
    graph = lower(network, theta, normalization)
    leaves = {name: tensor(array) for name, array in network.views(theta).items()}
    expected = torch_logits(network, leaves, normalization(images)).softmax(1).numpy()
    return graph, images.transpose(0, 2, 3, 1), expected


@pytest.mark.parametrize("draw", [draw_network, draw_graph], ids=["chain", "graph"])
@pytest.mark.parametrize("seed", range(2))
def test_float_c_file_computes_what_pytorch_does(tmp_path, seed, draw, request):
    seeds = range(seed, 60, 2) if request.config.getoption("--campaign") else [seed]
    for each in seeds:
        graph, images, expected = drawn(each, draw)
        write_c(graph, tmp_path)
        found = answers(build(tmp_path), graph, images)
        scale = max(1.0, np.abs(expected).max())
        assert np.abs(found - expected).max() < 1e-4 * scale, each
        assert np.abs(floats.probabilities(graph, images) - expected).max() < 1e-4 * scale, each


@pytest.mark.parametrize("draw", [draw_network, draw_graph], ids=["chain", "graph"])
@pytest.mark.parametrize("seed", range(2))
def test_int8_c_file_gives_the_same_bits_as_numpy(tmp_path, seed, draw, request):
    seeds = range(seed, 60, 2) if request.config.getoption("--campaign") else [seed]
    for each in seeds:
        graph, images, _ = drawn(each, draw)
        network = quantize(graph, images, images).network
        write_c(network, tmp_path)
        found = answers(build(tmp_path), network, images)
        assert found.tobytes() == int8.probabilities(network, images).tobytes(), each


@pytest.mark.parametrize("name", PUBLISHED)
def test_whole_numbers_are_those_of_tensorflow_lite(mlperf_tiny, name, request):
    network, tensors, described = read_tflite(mlperf_tiny, name)
    trace, cases = (np.load(mlperf_tiny / f"{name}-{kind}.npz") for kind in ("int8-trace", "cases"))
    whole = request.config.getoption("--campaign") or name not in SLOW
    first = cases["q_input"].reshape(-1, *network.graph.shape)[: None if whole else 32]
    for number, found in zip(tensors, int8.run(network, first[:2]), strict=True):
        if f"t{number}" in trace:
            assert np.array_equal(found.ravel(), trace[f"t{number}"].ravel()), number
    last = np.concatenate([int8.run(network, block)[-1].reshape(len(block), -1) for block in floats.blocks(first)])
    output = described["tensors"][described["output"]]
    if network.graph.end == "softmax":
        assert np.array_equal(last, cases["q_logits_ref"].reshape(-1, last.shape[1])[: len(last)])
        found = int8.softmax(network, last.astype(np.int64)) / np.float32(output["scale"][0])
        last = np.clip(np.trunc(found + np.float32(0.5)) + output["zero_point"][0], -128, 127)
    assert np.array_equal(last, cases["q_output_ref"].reshape(-1, last.shape[1])[: len(last)])


@pytest.mark.long("compiles for long")
@pytest.mark.parametrize("name", PUBLISHED)
def test_c_file_gives_the_bits_of_tensorflow_lite_s_network(mlperf_tiny, tmp_path, name):
    network, _, _ = read_tflite(mlperf_tiny, name)
    first = np.load(mlperf_tiny / f"{name}-cases.npz")["q_input"].reshape(-1, *network.graph.shape)[:4]
    images = (first.astype(np.int16) + 128).astype(np.uint8)
    write_c(network, tmp_path)
    found = answers(build(tmp_path), network, images)
    assert found.tobytes() == int8.probabilities(network, images).tobytes()


@pytest.mark.long("compiles for long")
@pytest.mark.parametrize("name", sorted(recipe_names()))
def test_recipe_s_c_files_compile_without_a_warning(tmp_path, name):
    loaded = load_config(name)
    shape = loaded.config.network.signal_shape or {"lenet5": (28, 28, 1)}.get(name) or (28, 28, 1)
    network = build_network(loaded, shape)
    signals = loaded.config.network.signals
    graph = lower(network, random_parameters(network), Normalization(np.full(1, 0.1), np.ones(1)), signals=signals)
    images = np.random.default_rng(0).integers(0, 256, (4, *graph.shape)).astype(np.float32 if signals else np.uint8)
    whole = quantize(graph, images, images).network
    for compiler in ("gcc", "clang"):
        for network_or_graph in (graph, whole):
            write_c(network_or_graph, tmp_path)
            found = answers(build(tmp_path, f"{STRICT} -O1", compiler), network_or_graph, images)
            if network_or_graph is whole:
                assert found.tobytes() == int8.probabilities(whole, images).tobytes()
            else:
                assert np.abs(found - floats.probabilities(graph, images)).max() < 1e-5


def test_tensors_that_live_at_the_same_time_lie_apart():
    for seed in range(40):
        graph = drawn_graph_only(seed)
        places, size = arena.plan(graph)
        sizes = [int(np.prod(shape)) for shape in graph.shapes]
        memory = np.full(size, -1)
        memory[places[0] :][: sizes[0]] = 0
        for k, operation in enumerate(graph.operations):
            for t in operation.inputs:
                assert (memory[places[t] :][: sizes[t]] == t).all()
            if operation.kind not in arena.IN_PLACE:
                mine = set(range(places[k + 1], places[k + 1] + sizes[k + 1]))
                assert not any(mine & set(range(places[t], places[t] + sizes[t])) for t in operation.inputs)
            memory[places[k + 1] :][: sizes[k + 1]] = k + 1
        assert (memory[places[-1] :][: sizes[-1]] == len(graph.operations)).all()


def drawn_graph_only(seed: int):
    network = draw_graph(seed)[0]
    channels = network.input_shape[0]
    return lower(network, random_parameters(network, seed), Normalization(np.zeros(channels), np.ones(channels)))


def test_lenet_in_whole_numbers_fits_where_it_must():
    network = lenet()
    graph = lower(network, random_parameters(network), Normalization(np.full(1, 0.1), np.full(1, 0.3)))
    assert [operation.kind for operation in graph.operations] == ["conv", "conv", "dense", "dense"]
    assert graph.multiply_adds == network.multiply_adds
    assert arena.plan(graph)[1] == 28 * 28 + 12 * 12 * 4  # the poolings leave nothing larger


@pytest.mark.parametrize("whole", [False, True], ids=["float", "int8"])
def test_numbers_come_in_the_units_of_their_targets(tmp_path, whole):
    layers = ["flatten", {"type": "dense", "units": 3, "activation": "tanh"}, {"type": "dense", "units": 2}]
    network = make_network([{"type": each} if each == "flatten" else each for each in layers], (1, 9, 1))
    plain = lower(network, random_parameters(network), Normalization(np.zeros(1), np.ones(1), 1.0), signals=True)
    graph = replace(plain, end="none", units=(np.array([300, 0.1], np.float32), np.array([5000, -1], np.float32)))
    signals = np.random.default_rng(0).normal(size=(30, 1, 9, 1)).astype(np.float32)
    made = quantize(graph, signals, signals).network if whole else graph
    write_c(made, tmp_path)
    found, expected = answers(build(tmp_path), made, signals), floats.probabilities(graph, signals)
    assert np.abs((found - expected) / graph.units[0]).max() < (0.05 if whole else 1e-5)
    assert expected[:, 0].mean() == pytest.approx(5000, rel=0.2)
    if whole:
        assert found.tobytes() == int8.probabilities(made, signals).tobytes()


def test_onnx_file_in_whole_numbers_gives_the_same_classes(lenumba, run):
    pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    made = lenumba("export", "latest", "--int8")
    assert made.exit_code == 0, made.stderr
    assert "0 classes differ" in made.stdout
    assert lenumba("export", "latest", "--int8").exit_code == 2  # the file is there
    assert lenumba("export", "latest", "--int8", "--format", "npz").exit_code == 2


def test_onnx_file_of_any_layers_is_at_most_a_few_steps_off():
    pytest.importorskip("onnx", reason="onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    for seed, draw in [(seed, draw) for seed in range(6) for draw in (draw_network, draw_graph)]:
        graph, images, _ = drawn(seed, draw)
        network = quantize(graph, images, images).network
        outputs, shape = graph.outputs, graph.shape
        normalization = Normalization(np.zeros(shape[2]), np.ones(shape[2]))
        sizes = (shape[2], shape[0], shape[1], outputs)
        model = onnx_file(list(list_operators(network)), graph.end, sizes, "net", normalization, [], "0")
        session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        logits = session.run(["logits"], {"images": images.transpose(0, 3, 1, 2).astype(np.float32)})[0]
        scale, zero = network.scales[-1]
        steps = np.rint(logits / scale) + zero - int8.logits(network, images)
        assert np.abs(steps).max() <= 4, (seed, draw)


def test_exported_folder_tests_itself(lenumba, run, place):
    import shutil
    import subprocess

    if not (shutil.which("cc") and shutil.which("make")):
        pytest.skip("no C compiler")
    for options in ([], ["--int8"]):
        made = lenumba("export", "latest", "--format", "c", "--out", "digits", "--force", *options)
        assert made.exit_code == 0, made.stderr
        tested = subprocess.run(["make", "-C", "digits", "clean", "test"], capture_output=True, text=True, check=False)
        assert tested.returncode == 0, tested.stderr
        assert "20 of 20 images as expected" in tested.stdout


def test_evaluate_compares_whole_numbers_with_floating_point_ones_by_class(lenumba, run):
    import json

    found = lenumba("evaluate", "latest", "--int8")
    assert found.exit_code == 0, found.stderr
    assert "recall int8" in found.stdout
    assert "calibrated on" in found.stderr
    figures = json.loads(lenumba("evaluate", "latest", "--int8", "--json").stdout)
    assert abs(figures["lost"]) <= 0.02
    assert figures["float32"]["accuracy"] - figures["int8"]["accuracy"] == pytest.approx(figures["lost"])


def test_a_folder_with_files_is_not_overwritten(refused, run, place):
    (place / "out").mkdir()
    (place / "out" / "mine.txt").write_text("mine")
    assert "the folder is not empty" in refused(2, "export", "latest", "--format", "c", "--out", "out")


@pytest.mark.long("trains and answers 20 000 images")
def test_c_files_answer_all_of_mnist_as_the_network_does(lenumba, mnist_root, tmp_path):
    assert lenumba("train", "lenet", f"data.root={mnist_root}", "train.epochs=2").exit_code == 0
    model = load("latest")
    images, graph = model.test_data().test_images, lower_run(model.trained)
    expected = model.predict_proba(images)
    write_c(graph, tmp_path)
    found = answers(build(tmp_path, "-std=c99 -O2"), graph, images)
    assert np.array_equal(found.argmax(1), expected.argmax(1))
    assert np.abs(found - expected).max() < 1e-5
    whole = calibrate(model, graph)[0].network
    write_c(whole, tmp_path)
    found = answers(build(tmp_path, "-std=c99 -O2"), whole, images)
    assert found.tobytes() == int8.probabilities(whole, images).tobytes()
    assert np.mean(found.argmax(1) != expected.argmax(1)) < 0.002


def test_more_than_half_a_point_lost_is_a_warning():
    labels, names = np.zeros(1000, np.int64), ("a", "b")

    def with_right(count: int) -> Evaluation:
        outputs = np.tile(np.array([[0.9, 0.1]], np.float32), (1000, 1))
        outputs[count:] = outputs[count:, ::-1]
        return Evaluation(0.1, labels, outputs, names)

    assert Int8Assessment(with_right(990), with_right(986), None, ()).warning == ""
    assert "loses 0.60 points" in Int8Assessment(with_right(990), with_right(984), None, ()).warning


@pytest.mark.parametrize(
    ("folder", "name"),
    [("lenet", "lenet"), ("lenet-001", "lenet_001"), ("2 nets", "net_2_nets"), ("board", "net_board")],
)
def test_a_folder_s_name_becomes_a_c_name(folder, name):
    assert identifier(Path(folder)) == name
