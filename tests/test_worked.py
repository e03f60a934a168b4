"""Worked examples: every number of the lecture handouts, by command; single cells against the plain loops."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from lenumba.engine.config.recipes import example_names, recipe_names
from lenumba.engine.explain.cells import find_cell
from lenumba.engine.explain.worked import work_out

CORRELATION = [[-8, -9, -2, 14], [6, -3, -13, 9], [4, -4, -8, 5], [2, 2, 1, -3]]
IMAGE = [[1, 6, 9, 10, 2, 8], [2, 5, 1, 8, 4, 2], [3, 7, 4, 9, 10, 3], [9, 8, 3, 6, 7, 9], [8, 0, 9, 4, 7, 2]]
IMAGE += [[9, 10, 12, 6, 9, 8]]
FILTER = [[1, 0, -1]] * 3
LENET = ["24×24×4", "12×12×4", "8×8×6", "4×4×6", "96", "50", "10"]
NETWORK = [
    {"type": "conv", "channels": 4, "kernel_size": [3, 2], "stride": [2, 1], "padding": [1, 0, 2, 1]},
    {"type": "activation", "function": "tanh"},
    {
        "type": "residual",
        "layers": [{"type": "conv", "channels": 4, "kernel_size": 3, "padding": "same", "norm": "batch"}],
        "activation": "relu",
    },
    {"type": "conv", "channels": 6, "kernel_size": 2, "groups": 2, "orientation": "convolution"},
    {"type": "max_pool", "size": 3, "stride": 2, "padding": 1},
    {"type": "average_pool", "size": 2, "stride": 1, "padding": 1, "count_padding": False},
    "flatten",
    {"type": "dense", "units": 5, "activation": "sigmoid"},
]


def printed(text: str, name: str) -> list[list[float]]:
    """Return the rows of a matrix that is printed under its name, whatever stands beside it."""
    lines = text.splitlines()
    row = next(number for number, line in enumerate(lines) if re.search(rf"(^| ){name} =(\s|$)", line))
    start = lines[row].index(f"{name} =")
    behind = re.search(r"\S+ =", lines[row][start + len(name) + 2 :])
    stop = start + len(name) + 2 + behind.start() if behind else None
    rows = []
    for line in lines[row + 1 :]:
        if not re.fullmatch(r"\s*(-?\d+(\s+|$))+", line[start - 2 : stop]):
            break
        rows.append([float(word) for word in line[start - 2 : stop].split()])
    return rows


def test_the_6x6_example_gives_the_handouts_16_numbers_and_the_sum_of_the_first(lenumba):
    text = lenumba("explain", "correlation").stdout
    assert printed(text, "y") == CORRELATION
    for row in [*IMAGE, *FILTER]:
        assert re.search(r"(^|\s)" + r"\s+".join(map(str, row)) + r"(\s|$)", text, re.M)
    cell = lenumba("explain", "correlation", "--cell", "conv1/0,0,0").stdout
    products = sorted(
        ["1·1", "2·1", "3·1", "6·0", "5·0", "7·0", "9·(−1)", "1·(−1)", "4·(−1)"]
    )  # as the handout has them, by column
    (line,) = (line for line in cell.splitlines() if line.startswith("  y = "))
    terms, total = line.removeprefix("  y = ").split(" = ")
    assert (sorted(terms.split(" + ")), total) == (products, "−8")


def test_an_edge_from_10_to_0_gives_30_in_the_middle(lenumba):
    text = lenumba("explain", "vertical-edge").stdout
    assert printed(text, "y") == [[0, 30, 30, 0]] * 4
    assert " = 30\n" in lenumba("explain", "vertical-edge", "--layer", "conv1", "--cell", "0,2,1").stdout


def test_the_gradient_of_max_pooling_goes_to_the_maximum_alone(lenumba):
    text = lenumba("explain", "max-pool").stdout
    assert "y = 4" in text
    assert "δ = 2" in text
    assert text.endswith("  0 0\n  0 2\n")


def test_backpropagation_through_a_convolution_has_the_handouts_sums(lenumba):
    """The handout's symbols, with X = 1 … 9, K = 1 … 4, B = 1 and ∂L/∂Z = 1 … 4."""
    values = json.loads(lenumba("explain", "backpropagation", "--json").stdout)
    x, k, d = np.arange(1.0, 10).reshape(3, 3), np.arange(1.0, 5).reshape(2, 2), np.arange(1.0, 5).reshape(2, 2)
    z = [[np.sum(x[i : i + 2, j : j + 2] * k) + 1 for j in range(2)] for i in range(2)]
    dk = [[np.sum(d * x[m : m + 2, n : n + 2]) for n in range(2)] for m in range(2)]
    padded = np.pad(d, 1)
    dx = [[np.sum(padded[m : m + 2, n : n + 2] * k[::-1, ::-1]) for n in range(3)] for m in range(3)]
    (layer,) = values["layers"]
    assert layer["y"] == [z]
    assert layer["parameters"]["kernel"]["gradient"] == [[dk]]
    assert layer["parameters"]["bias"]["gradient"] == [10]
    assert values["image_delta"] == [dx]
    text = lenumba("explain", "backpropagation").stdout
    for name, rows in (("ΔK", dk), ("δx", dx)):
        assert printed(text, name) == np.array(rows).tolist()


def test_sizes_and_counts_of_the_handouts_are_in_the_summaries(lenumba):
    text = lenumba("summary", "lenet").stdout
    for size in LENET:
        assert re.search(rf"\s{size}\s", text)
    for number in ("6,070", "6170", "4·5·5 + 4 + 24·5·5 + 6 + 50·96 + 50 + 10·50 + 10"):
        assert number in text
    assert re.search(r"\b15\b", lenumba("summary", "tiny15").stdout)
    assert "7×7×1 → 3×3×1" in lenumba("explain", "stride").stdout  # n = 7, f = 3, s = 2
    assert "6×6×1 → 6×6×1" in lenumba("explain", "same-padding").stdout


@pytest.mark.parametrize("name", example_names())
def test_every_example_is_correct_listed_and_shown(lenumba, name):
    assert name not in recipe_names()
    assert ": correct" in lenumba("check", name).stdout
    assert re.search(rf"^{name} ", lenumba("configs").stdout, re.M)
    Path("mine.yaml").write_text(shown := lenumba("configs", "show", name).stdout)
    assert shown.startswith("# ")
    mine = lenumba("explain", "mine.yaml").stdout
    assert mine.splitlines()[1:] == lenumba("explain", name).stdout.splitlines()[1:]


@pytest.mark.parametrize("text", ["1,6,9\n2,5,1\n", "1 6 9\n2 5 1", "1;6;9\r\n2;5;1\r\n\r\n", "1\t6\t9\n2\t5\t1\n"])
def test_matrices_come_from_csv_text_and_yaml_with_their_values_as_they_are(lenumba, place, text):
    Path("matrix.csv").write_text(text)
    layers = "[{type: conv, kernel: [[1, 0, -1]], bias: 0.5}]"
    for image in ("matrix.csv", "[[1, 6, 9], [2, 5, 1]]"):
        values = json.loads(lenumba("explain", "--image", image, "--layers", layers, "--json").stdout)
        assert values["image"] == [[[1, 6, 9], [2, 5, 1]]]
        assert values["layers"][0]["y"] == [[[-7.5], [1.5]]]


def test_overrides_reach_into_the_layers_of_the_command_line(lenumba):
    layers = ["--layers", "[{type: conv, kernel: [[1]], bias: false}]", "--image", "[[1, 2, 3]]", "layers.0.stride=2"]
    assert json.loads(lenumba("explain", *layers, "--json").stdout)["layers"][0]["y"] == [[[1, 3]]]
    assert json.loads(lenumba("explain", "max-pool", "delta=[[3]]", "--json").stdout)["image_delta"] == [
        [[0, 0], [0, 3]]
    ]


def test_home_is_meant_by_a_tilde(lenumba, place, monkeypatch):
    monkeypatch.setenv("HOME", str(place))
    Path("worked.yaml").write_text("image: ~/matrix.csv\nlayers: [flatten]\n")
    Path("matrix.csv").write_text("1,2\n")
    assert "worked example" in lenumba("check", "~/worked.yaml").stdout
    assert json.loads(lenumba("explain", "~/worked.yaml", "--json").stdout)["image"] == [[[1, 2]]]


def test_a_network_takes_a_matrix_without_a_hidden_division(lenumba, place):
    Path("matrix.csv").write_text("\n".join(",".join(map(str, row)) for row in IMAGE))
    for arguments in (["tiny15", "matrix.csv"], ["tiny15", "--image", str(IMAGE)]):
        values = json.loads(lenumba("explain", *arguments, "--json").stdout)
        assert values["layers"][0]["x"] == [IMAGE]
    assert "x, as it is given" in lenumba("explain", "tiny15", "matrix.csv").stdout


@pytest.fixture(scope="module")
def deep():
    """Every kind of layer on two maps, with drawn weights and a drawn gradient at its end."""
    rng = np.random.default_rng(0)
    image, delta = rng.normal(size=(2, 7, 6)), rng.normal(size=(5, 1, 1))
    return work_out({"image": image.tolist(), "layers": NETWORK, "delta": delta.tolist()}, "deep")


def test_each_cells_products_and_gradients_sum_up_to_those_of_the_plain_loops(deep):
    for number, item in enumerate(deep.layers):
        back = [np.zeros(x.shape) for x in item.inputs]
        for place in np.ndindex(*item.unit.output):
            text = f"{item.unit.name}/{','.join(map(str, place))}"
            cell = find_cell(text, None, deep.layers, deep.image, deep.image_delta)
            np.testing.assert_allclose(cell.value, item.y[place])
            for window, total in zip(cell.windows, back, strict=True):
                spans = [np.arange(*span) for span in window.box]
                for at in np.argwhere(window.inside):
                    total[tuple(span[k] for span, k in zip(spans, at, strict=True))] += window.passed[tuple(at)]
            if item.unit.layer.combines == "sum":
                (window,) = cell.windows
                np.testing.assert_allclose(window.products.sum() + (cell.bias or 0), cell.value, atol=1e-12)
            elif item.unit.layer.combines == "max":
                (window,) = cell.windows
                assert window.values[window.taken].tolist() == [cell.value]
        for nth, (tensor, total) in enumerate(zip(item.unit.inputs, back, strict=True)):
            readers = sum(tensor in other.unit.inputs for other in deep.layers)
            if readers == 1:
                expected = deep.layers[tensor - 1].delta if tensor else deep.image_delta
                np.testing.assert_allclose(total, expected, atol=1e-12, err_msg=f"{number}, input {nth}")


def test_nothing_outside_of_a_receptive_field_changes_a_cell_and_its_edges_do(deep):
    rng = np.random.default_rng(1)
    drawn = {"image": deep.image.tolist(), "layers": NETWORK[:3]}
    base = work_out(drawn, "deep")
    for _ in range(12):
        item = base.layers[rng.integers(len(base.layers))]
        place = tuple(int(rng.integers(extent)) for extent in item.unit.output)
        cell = find_cell(f"{item.unit.name}/{','.join(map(str, place))}", None, base.layers, base.image, None)
        field = tuple(slice(*span) for span in cell.field)
        outside = base.image + 1.0
        outside[field] = base.image[field]
        again = work_out({**drawn, "image": outside.tolist()}, "deep")
        (other,) = (one for one in again.layers if one.unit.name == item.unit.name)
        assert other.y[place] == item.y[place]


@pytest.mark.parametrize(
    ("code", "arguments", "says"),
    [
        (2, [], "expected CONFIG, or --layers and --image"),
        (2, ["--layers", "[flatten]"], "expected image in a worked example"),
        (2, ["--layers", "[{type: convv}]", "--image", "[[1]]"], "did you mean 'conv'"),
        (2, ["--layers", "[{type: conv, kernel: [[1, 2]]}]", "--image", "[[1], [2]]"], "kernel is larger"),
        (2, ["--layers", "[{type: max_pool, size: 1, kernel: [[1]]}]", "--image", "[[1]]"], "one without"),
        (2, ["--layers", "[flatten]", "--image", "[[1, 2], [3]]"], "rows of equal length"),
        (2, ["--layers", "[flatten]", "--image", "[[1, x]]"], "expected numbers"),
        (2, ["--layers", "[{type: activation, function: softmax}]", "--image", "[[1]]"], "belongs to a loss"),
        (2, ["correlation", "--cell", "conv1/0,4,0"], "to conv1/0,3,3"),
        (2, ["correlation", "--cell", "conv9/0,4,0"], "one of image, conv1"),
        (2, ["correlation", "--delta", "[[1]]"], "4×4"),
        (2, ["tiny15", "--delta", "[[1]]"], "expected a worked example or --layers"),
        (2, ["correlation", "--layers", "[flatten]", "--image", "[[1]]"], "unexpected argument 'correlation'"),
        (2, ["correlation", "0", "--image", "[[1]]"], "unexpected argument '0'"),
        (2, ["correlation", "--label", "3"], "without classes"),
        (3, ["--layers", "[flatten]", "--image", "none.csv"], "no file 'none.csv'"),
        (3, ["tiny15", "--image", "[[1]]"], "expected 6×6×1"),
    ],
)
def test_mistakes_are_one_line(refused, code, arguments, says):
    assert says in refused(code, "explain", *arguments)
