"""Signals: read from npz, CSV and arrays, trained, judged and passed on; layers of one number lie along them."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import lenumba as package
from lenumba.cli import main
from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.config.config import load_config
from lenumba.engine.data.csv_file import read_csv
from lenumba.engine.data.selection import load_data, pixel_statistics, split
from lenumba.engine.data.signal_files import read_signal, read_signals
from lenumba.engine.data.splits import signal_mean_and_std
from lenumba.engine.network.layers import Conv
from lenumba.engine.network.network import Network
from lenumba.engine.runs.prepare import check_run

LENGTH = 24
LAYERS = [
    {"type": "conv", "channels": 6, "kernel_size": 5, "stride": 2, "padding": 2, "activation": "relu"},
    {"type": "residual", "layers": [{"type": "conv", "channels": 6, "kernel_size": 3, "padding": "same"}]},
    {"type": "depthwise_conv", "kernel_size": 3, "norm": "batch", "activation": "relu"},
    {"type": "max_pool", "size": 2},
    "flatten",
    {"type": "dense", "units": 3, "activation": "softmax"},
]
NAMES = ("falling", "flat", "rising")


def make_signals(count: int, seed: int, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy lines float32 [N, L] (or [N, L, C]) that fall, stay or rise, far from zero, and which they do."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    slopes = (labels - 1)[:, None] * np.linspace(-1, 1, LENGTH)
    signals = 40 + 3 * (slopes[..., None] + 0.4 * rng.normal(size=(count, LENGTH, channels)))
    return signals.astype(np.float32)[..., 0] if channels == 1 else signals.astype(np.float32), labels


def write_csv(path: Path, signals: np.ndarray, labels: np.ndarray, *, last: bool = True, header: bool = False) -> Path:
    """Write a row for each signal, with its label's name at the end or its number in front."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        if header:
            writer.writerow([*(f"t{k}" for k in range(signals[0].size)), "Class"])
        for signal, label in zip(signals.reshape(len(signals), -1).tolist(), labels.tolist(), strict=True):
            writer.writerow([*signal, NAMES[label]] if last else [label, *signal])
    return path


def recipe(**data: object) -> dict:
    """Return a configuration for signals."""
    return {
        "data": {"batch_size": 16, "validation": 0.2, **data},
        "network": {"input": [LENGTH], "layers": LAYERS},
        "optimizer": {"name": "adamw", "learning_rate": 1e-2},
        "train": {"epochs": 6},
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with the same signals as an npz file and as two CSV files."""
    folder = tmp_path_factory.mktemp("signals")
    (x, y), (x_test, y_test) = make_signals(300, 0), make_signals(90, 1)
    np.savez(folder / "lines.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test, class_names=np.array(NAMES))
    (folder / "parts").mkdir()
    write_csv(folder / "parts" / "train.csv", x, y, header=True)
    write_csv(folder / "parts" / "test.csv", x_test, y_test, header=True)
    return folder


@pytest.fixture(scope="module")
def run(files):
    """A network trained on the CSV files."""
    return package.train(recipe(name="csv", root=str(files / "parts")), out=files / "run")


# Layers


def test_one_number_lies_along_a_signal_and_is_square_on_an_image():
    conv = [Conv(type="conv", channels=4, kernel_size=3, padding=1), *load_layers(["flatten"])]
    assert Network(conv, (1, 20, 2), signals=True, loss="mean_squared_error").units[0].output == (4, 1, 20)
    assert Network(conv, (20, 20, 2), loss="mean_squared_error").units[0].output == (4, 20, 20)
    image_of_one_row = Network(conv, (1, 20, 2), loss="mean_squared_error")
    assert image_of_one_row.units[0].parameters[0].shape == (4, 2, 3, 3)


def load_layers(layers: list) -> tuple:
    """Return checked layers."""
    last = {"type": "dense", "units": 3, "activation": "softmax"}
    return load_config({"data": {"name": "digits"}, "network": {"layers": [*layers, last]}}).config.network.layers[:-1]


def test_sizes_across_a_signal_are_refused_all_at_once_and_those_along_it_may_be_pairs():
    layers = [
        {"type": "conv", "channels": 4, "kernel_size": [3, 3]},
        {"type": "residual", "layers": [{"type": "conv", "channels": 4, "kernel_size": 3, "padding": [1, 1]}]},
        {"type": "max_pool", "size": [2, 1]},
        {"type": "conv", "channels": 4, "kernel_size": [1, 3], "padding": [0, 0, 2, 0]},
        *LAYERS[-2:],
    ]
    with pytest.raises(ConfigError) as caught:
        load_config({"data": {"name": "csv", "root": "x.csv"}, "network": {"input": [LENGTH], "layers": layers}})
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[1] for line in lines] == [
        "network.layers.0.kernel_size", "network.layers.1.layers.0.padding", "network.layers.2.size"
    ]  # fmt: skip
    assert all("expected one number, along the signal" in line for line in lines)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"data.name": "digits", "data.root": None}, "expected [height, width, channels] for the images of digits"),
        ({"data.name": "csv", "network.input": None}, "expected [length] or [length, channels]"),
        ({"data.name": "csv", "network.input": [28, 28, 1]}, "expected [length] or [length, channels]"),
        ({"data.name": "csv", "augment.rotation": 5.0}, "augment: expected every distortion off for signals"),
        ({"network.input": [28, 2000, 1]}, "expected integers from 1 to 1024 for images, found 2000"),
    ],
)
def test_what_does_not_go_with_signals_is_one_line(changes, expected):
    with pytest.raises(ConfigError) as caught:
        load_config(recipe(name="npz", root="x.npz"), changes)
    assert len(str(caught.value).splitlines()) == 1
    assert expected in str(caught.value)


def test_a_network_for_signals_computes_what_pytorch_does(run):
    model = package.load(run.path)
    signals, _ = make_signals(50, 2)
    kernels = {name: torch.from_numpy(array.astype(np.float64)) for name, array in model.trained.parameters.items()}
    norm = model.trained.normalization
    x = (torch.from_numpy(signals.astype(np.float64))[:, None] - norm.mean[0]) / norm.deviation[0]
    conv = torch.nn.functional.conv1d
    x = conv(x, kernels["conv1.kernel"][:, :, 0], kernels["conv1.bias"], stride=2, padding=2).relu()
    x = x + conv(x, kernels["conv2.kernel"][:, :, 0], kernels["conv2.bias"], padding=1)
    x = conv(x, kernels["depthwise1.kernel"][:, :, 0], kernels["depthwise1.bias"], groups=6)
    own = [kernels[f"depthwise1_norm.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
    x = torch.nn.functional.batch_norm(x, *own, eps=1e-5).relu()
    x = torch.nn.functional.max_pool1d(x, 2).flatten(1)
    expected = torch.softmax(x @ kernels["dense1.kernel"].T + kernels["dense1.bias"], 1).numpy()
    # The signals lie about 15 deviations from zero, which costs their float32 a digit.
    np.testing.assert_allclose(model.predict_proba(signals), expected, atol=2e-5)


# Reading


def test_npz_csv_and_arrays_train_the_same_network(files, run):
    x, y = make_signals(300, 0)
    of_npz = package.train(recipe(name="npz", root=str(files / "lines.npz")), out=files / "of_npz")
    of_arrays = package.train(
        recipe(name="arrays"), images=x, labels=y, test=make_signals(90, 1), class_names=NAMES, out=files / "of_arrays"
    )
    assert run.test_accuracy > 0.9
    for other in (of_npz, of_arrays):
        assert other.summary["weights_sha256"] == run.summary["weights_sha256"]
        assert other.summary["data_sha256"] == run.summary["data_sha256"]
    model = package.load(of_arrays.path)
    assert model.evaluate(*make_signals(90, 1)).accuracy == run.test_accuracy
    assert "labels in column 25 ('Class')" in run.summary["notes"][0]


def test_statistics_are_those_of_each_channel_in_float64():
    signals, _ = make_signals(130, 3, channels=2)
    signals[..., 1] = 1e6 + signals[..., 1]
    mean, std = signal_mean_and_std(signals[:, None])
    np.testing.assert_allclose(mean, signals.mean((0, 1), np.float64), rtol=1e-12)
    np.testing.assert_allclose(std, signals.astype(np.float64).std((0, 1)), rtol=1e-9)
    assert signal_mean_and_std(np.full((3, 1, 5, 1), 0.1, np.float32))[1].tolist() == [1.0]


def test_normalisation_is_of_the_training_signals(files):
    loaded = load_config(recipe(name="npz", root=str(files / "lines.npz")))
    dataset = load_data(loaded)
    indices = split(loaded, dataset)[0]
    found = pixel_statistics(loaded, dataset, indices)
    values = found(dataset.train_images[indices].transpose(0, 3, 1, 2))
    assert abs(values.mean()) < 1e-6
    assert abs(values.std() - 1) < 1e-6


def test_labels_are_found_in_front_at_the_end_and_by_a_header(tmp_path):
    signals, labels = make_signals(12, 4)
    shape = (1, LENGTH, 1)
    for path, column in (
        (write_csv(tmp_path / "front.csv", signals, labels, last=False), "column 1"),
        (write_csv(tmp_path / "end.csv", signals, labels), "column 25"),
        (write_csv(tmp_path / "named.csv", signals, labels, header=True), "column 25 ('Class')"),
    ):
        found = read_csv(path, shape)
        assert column in found.notes[0]
        assert found.class_names == (("0", "1", "2") if column == "column 1" else NAMES)
        assert "2 of 12 rows are for the test" in found.notes[-1]
        np.testing.assert_array_equal(
            np.sort(np.concatenate([found.train_images, found.test_images])[..., 0], axis=0), np.sort(signals, axis=0)
        )
    text = (tmp_path / "front.csv").read_text()
    for delimiter in ";\t":
        (tmp_path / "other.csv").write_text("\ufeff" + text.replace(",", delimiter) + "\n\n", encoding="utf-8")
        np.testing.assert_array_equal(read_csv(tmp_path / "other.csv", shape).train_images,
                                      read_csv(tmp_path / "front.csv", shape).train_images)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,1,2,3\nb,1,nan,3\n", ":2: column 3: expected a finite float32 number, found nan"),
        ("a,1,2,3\nb,1,2,-inf\n", ":2: column 4: expected a finite float32 number, found -inf"),
        ("a,1,2,3\nb,1,1e39,3\n", ":2: column 3: expected a finite float32 number, found 1e39"),
        ("a,1,2,3\nb,1,,3\n", ":2: column 3: expected a finite float32 number, found nothing"),
        ("a,1,2,3\nb,1,two,3\n", ":2: column 3: expected a finite float32 number, found two"),
        ("a,1,2,3\nb,1,2\n", ":2: expected 4 columns, found 3"),
        ("0,1,2\n5,1,2\n", "expected 3 values and a label in each row, found no label"),
        ("a,1,2,3,4\n", ":1: expected 3 values (network.input) and a label, found 5 columns"),
        ("", "expected a signal in each row, found no rows"),
        ('a,1,2,"3\n', "expected text in UTF-8"),
        ("a,1,2,3\0\n", "expected"),
        (b"\xff\xfe\x00a", "expected text in UTF-8"),
    ],
)
def test_a_wrong_row_is_named_in_one_line(tmp_path, text, expected):
    path = tmp_path / "rows.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError) as caught:
        read_csv(path, (1, 3, 1))
    assert expected in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"x_train": np.full((4, LENGTH), np.nan)}, "found nan in row 0, column 0"),
        ({"x_test": np.full((4, LENGTH), 1e40)}, "found 1e+40 in row 0, column 0"),
        ({"x_train": np.zeros((4, LENGTH), complex)}, "complex"),
        ({"x_train": np.zeros(4)}, "expected signals [N, L] or [N, L, channels], found 1 axes"),
        ({"x_train": np.zeros((4, 7)), "x_test": np.zeros((4, 7))}, "found 1×24×1"),
    ],
)
def test_arrays_that_are_no_signals_are_refused_in_one_line(tmp_path, arrays, expected):
    usual = {"x_train": np.zeros((4, LENGTH)), "x_test": np.zeros((4, LENGTH))}
    labels = np.array([0, 1, 2, 0])
    np.savez(tmp_path / "bad.npz", **{**usual, **arrays}, y_train=labels, y_test=labels)
    loaded = load_config(recipe(name="npz", root=str(tmp_path / "bad.npz"), batch_size=2, validation=0))
    with pytest.raises((DataError, ConfigError)) as caught:
        check_run(loaded)
    assert expected in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_floats_without_a_length_say_how_signals_are_written(files):
    changes = {"network.input": None, "network.layers": ["flatten", LAYERS[-1]]}
    loaded = load_config(recipe(name="npz", root=str(files / "lines.npz")), changes)
    with pytest.raises(DataError, match=r"say network\.input: \[L\] or \[L, channels\]"):
        load_data(loaded)


def test_rows_to_be_answered_come_from_csv_npy_and_npz(tmp_path, files):
    signals, labels = make_signals(9, 5)
    shape = (1, LENGTH, 1)
    np.save(tmp_path / "rows.npy", signals)
    np.save(tmp_path / "one.npy", signals[2])
    np.savez(tmp_path / "rows.npz", anything=signals)
    write_csv(tmp_path / "rows.csv", signals, labels, header=True)
    for name, second in (("rows.npy", 1), ("rows.npz", 1), ("rows.csv", 3)):
        found = read_signals(tmp_path / name, shape)
        assert found.numbers[1] == second
        np.testing.assert_array_equal(found.signals[:, 0, :, 0], signals)
        np.testing.assert_array_equal(read_signal(f"{tmp_path / name}:{second}", shape)[0, :, 0], signals[1])
    np.testing.assert_array_equal(read_signal(str(tmp_path / "one.npy"), shape)[0, :, 0], signals[2])
    assert len(read_signals(files / "lines.npz", shape).signals) == 90
    with pytest.raises(DataError, match="expected a row of"):
        read_signal(f"{tmp_path / 'rows.npy'}:9", shape)
    (tmp_path / "short.npy").write_bytes((tmp_path / "rows.npy").read_bytes()[:-4])
    with pytest.raises(DataError, match="save the file again"):
        read_signals(tmp_path / "short.npy", shape)


# Commands


def say(capsys, *words: object) -> str:
    """Run a command that must succeed, and return what it printed."""
    with pytest.raises(SystemExit) as done:
        main([str(word) for word in words])
    said = capsys.readouterr()
    assert done.value.code == 0, said.err
    return said.out


def test_every_command_takes_signals(files, run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    say(capsys, "predict", run.path, files / "parts" / "test.csv", "--csv", "out.csv")
    with open("out.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["signal", "class", "probability", *NAMES, "fault"]
    assert len(rows) == 91
    assert rows[1][0].endswith("test.csv:2")
    expected = package.load(run.path).predict(make_signals(90, 1)[0])
    assert [row[1] for row in rows[1:]] == [NAMES[k] for k in expected]
    first = json.loads(say(capsys, "explain", run.path, 0, "--json"))
    same = json.loads(say(capsys, "explain", run.path, f"{files / 'parts' / 'test.csv'}:2", "--json"))
    assert first["outputs"]["values"] == same["outputs"]["values"]
    assert "x = (value − mean)/deviation" in say(capsys, "explain", run.path)
    assert "0 classes differ" in say(capsys, "export", run.path, "--out", "net.onnx")
    import onnx

    assert "[N, C, 1, L]" in onnx.load("net.onnx").doc_string
    assert f"1×{LENGTH}×1" in say(capsys, "summary", Path(run.path) / "config.yaml")
    assert "every bit the same" in say(capsys, "verify", run.path, "--epoch", 1)
    say(capsys, "export", run.path, "--format", "safetensors", "--out", "net.safetensors")
    say(capsys, "import", "net.safetensors", "--config", Path(run.path) / "config.yaml", "--out", "back")
    assert f"{100 * run.test_accuracy:.2f} %" in say(capsys, "evaluate", "back")
    say(capsys, "plot", run.path)
    say(capsys, "evaluate", run.path, "--html", "page.html")
    for command in (["audit", Path(run.path) / "config.yaml"], ["why", run.path, "0"]):
        with pytest.raises(SystemExit) as done:
            main([str(word) for word in command])
        assert done.value.code == 2
        assert "found signals" in capsys.readouterr().err


def test_the_estimator_takes_signals_with_and_without_channels():
    pytest.importorskip("sklearn")
    import pickle

    from lenumba.sklearn import LeNetClassifier

    for channels in (1, 2):
        (x, y), (x_test, y_test) = make_signals(240, 6, channels), make_signals(90, 7, channels)
        fitted = LeNetClassifier(signals=True, epochs=6, random_state=0).fit(x, y)
        assert fitted.score(x_test, y_test) > 0.9
        assert fitted.parameters_["conv1.kernel"].shape == (16, channels, 1, 5)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(x_test), fitted.predict(x_test))
    with pytest.raises(ValueError, match="image_shape: expected None beside signals=True"):
        LeNetClassifier(signals=True, image_shape=(4, 6)).fit(*make_signals(20, 8))


# The recipe


def test_mnist1d_reaches_more_than_its_authors_network(tmp_path):
    root = os.environ.get("LENUMBA_TEST_MNIST1D")
    if not root:
        pytest.skip("no MNIST-1D: set LENUMBA_TEST_MNIST1D to mnist1d.npz or its folder")
    path = Path(root) / "mnist1d.npz" if Path(root).is_dir() else Path(root)
    found = package.train("mnist1d", {"data.root": str(path)}, out=tmp_path / "run")
    assert found.test_accuracy >= 0.96
