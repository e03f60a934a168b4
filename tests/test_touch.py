"""Values that one can touch on the report page: their windows, products, sums and gradients are the plain loops'."""

import numpy as np
import pytest
from browser import in_browser
from harness import make_executor, normalized, random_batch, random_parameters
from node import for_scripts, packed, run_scripts
from pydantic import TypeAdapter

from lenumba.engine.config.config import read_config
from lenumba.engine.explain import plain
from lenumba.engine.explain.cells import find_cell
from lenumba.engine.explain.explain import explain, layers_of
from lenumba.engine.explain.subject import find_sample, find_subject
from lenumba.engine.network.layers import Layer
from lenumba.engine.network.network import Network
from lenumba.engine.report.findings import look_into
from lenumba.engine.report.report import write_report
from lenumba.engine.runs.run import start_run
from lenumba.kernels.reference.twin import interpreted

CONV = {"type": "conv", "channels": 4, "kernel_size": [3, 2], "activation": "relu"}
DENSE = {"type": "dense", "units": 4, "activation": "softmax"}
NETWORKS = {
    "nested": [
        {**CONV, "stride": [2, 1], "padding": [1, 2, 0, 1]},
        {
            "type": "residual",
            "layers": [{**CONV, "padding": "same", "norm": "batch"}],
            "shortcut": [{**CONV, "kernel_size": 1}],
            "activation": "silu",
        },
        {**CONV, "channels": 6, "kernel_size": 2, "groups": 2, "orientation": "convolution"},
        {"type": "max_pool", "size": 3, "stride": 2, "padding": 1},
        {"type": "average_pool", "size": 2, "stride": 1, "padding": 1, "count_padding": False},
        "flatten",
        {"type": "dense", "units": 5, "activation": "tanh"},
        DENSE,
    ],
    "averaged": [CONV, {"type": "depthwise_conv", "kernel_size": 2, "bias": False}, "global_average_pool", DENSE],
    "largest": [
        {"type": "average_pool", "size": [2, 3], "padding": 1},
        CONV,
        "global_max_pool",
        {"type": "dropout", "rate": 0.5},
        DENSE,
    ],
}
SMALL = """\
data: {name: digits, samples: 640, validation: 128, batch_size: 32}
network:
  layers:
    - {type: max_pool, size: 2}
    - {type: conv, channels: 3, kernel_size: 4, stride: 2, padding: 1, activation: relu}
    - flatten
    - {type: dense, units: 10, activation: softmax}
train: {epochs: 1}
"""
CELLS = """
const pass = network.forward(image(0)), { dz } = network.judge(pass.outputs.at(-1), 1);
const back = network.backward(pass, dz);
answer(given.cells.map(([number, ...place]) => cellOf(network, pass, back, number, place)));
"""
CLICKS = """
const found = [], wide = document.documentElement.scrollWidth;
for (const [number, ...place] of CELLS) {
  const shape = shapeOf(number + 1), canvas = pictureOf(number + 1), box = canvas.getBoundingClientRect();
  const [x, y] = spotOf(canvas.grid, flatIndex(shape, place));
  const clientX = box.left + ((x + 0.5) * box.width) / canvas.width;
  const clientY = box.top + ((y + 0.5) * box.height) / canvas.height;
  canvas.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY, bubbles: true }));
  const told = canvas.closest("figure").querySelector(".told").textContent;
  canvas.dispatchEvent(new MouseEvent("click", { clientX, clientY, bubbles: true }));
  const numbers = (text) => Number(text.replace("−", "-").replace("padding", "0"));
  const columns = [...panel.querySelectorAll("table:not(.list)")].reduce((all, table) => {
    const name = table.caption.textContent.split(",")[0];
    all[name] = [...(all[name] ?? []), ...[...table.querySelectorAll("td")].map((cell) => numbers(cell.title))];
    return all;
  }, {});
  for (const table of panel.querySelectorAll("table.list"))
    [...table.rows[0].cells].slice(1).forEach((head, n) => {
      columns[head.textContent] = [...table.rows].slice(1).map((row) => numbers(row.cells[n + 1].title));
    });
  const title = panel.querySelector("h4");
  found.push({
    told, columns, value: numbers(title.title), title: title.textContent,
    command: panel.querySelector("code").textContent, marks: document.querySelectorAll(".mark.window").length,
  });
}
answer({ found, wide, after: document.documentElement.scrollWidth, inner: innerWidth });
"""
KEYS = """
const press = (element, key) =>
  element.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
const canvas = pictureOf(2), told = () => canvas.closest("figure").querySelector(".told").textContent.split(" ")[0];
const stops = [...document.querySelectorAll("#layers canvas")].every((each) => each.tabIndex === 0);
const named = [...document.querySelectorAll("#layers canvas, #layers button")]
  .every((each) => each.getAttribute("aria-label") || each.textContent);
canvas.focus();
const way = [];
for (const key of ["ArrowRight", "ArrowDown", "PageDown", "End", "ArrowRight", "ArrowLeft", "Home"]) {
  press(canvas, key);
  way.push(told());
}
press(canvas, "Enter");
const open = panel.querySelector("h4").textContent.split(" ")[0];
const first = panel.querySelector("table button[tabindex='0']");
first.focus();
press(first, "ArrowRight");
const beside = document.activeElement.closest("td").cellIndex - first.closest("td").cellIndex;
document.activeElement.click();
const followed = panel.querySelector("h4").textContent.split(" ")[0], focused = document.activeElement === pictureOf(1);
press(document.activeElement, "Escape");
answer({ stops, named, way, open, beside, followed, focused, closed: panel.hidden });
"""


def random_cells(shapes, count, seed=0):
    """Return [layer, channel, row, column] of random values; layer −1 is the image."""
    rng = np.random.default_rng(seed)
    numbers = rng.integers(-1, len(shapes) - 1, count)
    return [[int(n), *(int(rng.integers(extent)) for extent in shapes[n + 1])] for n in numbers]


@pytest.mark.parametrize("name", NETWORKS)
def test_windows_products_and_gradients_of_cells_are_the_plain_loops(name):
    network = Network(TypeAdapter(list[Layer]).validate_python(NETWORKS[name]), (9, 7, 2))
    executor = make_executor(network, None, random_parameters(network))
    planes, _ = random_batch(network, 1)
    shapes = [network.input_shape, *(unit.output for unit in network.units)]
    cells = random_cells(shapes, 200)
    found = run_scripts(CELLS, **for_scripts(network, executor), pixels=packed(planes), cells=cells)
    parameters, x = network.views(executor.theta), normalized(executor, planes)
    parameters = {key: value.astype(np.float64) for key, value in parameters.items()}
    with interpreted():
        outputs = plain.forward(network, parameters, x)
        outcome = plain.judge(network, outputs[-1], np.array([1]))
        gradients, deltas = plain.backward_units(network.units, parameters, x, outputs, outcome.dz)
    layers = layers_of(network.units, (x, *outputs), deltas, parameters, gradients, {})
    names = ["image", *(unit.name for unit in network.units)]
    for (number, *place), here in zip(cells, found, strict=True):
        cell = find_cell(f"{names[number + 1]}/{','.join(map(str, place))}", None, layers, x[0], deltas[0][0])
        assert here["written"] == cell.written
        assert here["field"] == [list(span) for span in cell.field]
        np.testing.assert_allclose([here["value"], here["delta"]], [cell.value, cell.delta], rtol=1e-9, atol=1e-12)
        assert (here["bias"] is None) == (cell.bias is None)
        for window, there in zip(here["windows"], cell.windows, strict=True):
            assert window["source"] == there.source
            assert window["box"] == [list(span) for span in there.box]
            for key in ("values", "inside", "weights", "products", "taken", "passed"):
                expected = getattr(there, key)
                assert (window.get(key) is None) == (expected is None)
                if expected is not None:
                    flat = [np.nan if value is None else value for value in window[key]]
                    expected = np.where(np.isfinite(expected), expected, np.nan)
                    np.testing.assert_allclose(flat, expected.ravel(), rtol=1e-9, atol=1e-12)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report, and the explanation of its first image, which is the page's first."""
    run = tmp_path_factory.mktemp("touched") / "small-001"
    start_run(read_config(SMALL, "small.yaml"), out=run)
    found, path = look_into(str(run)), run / "report.html"
    write_report(found, path)
    subject, first = find_subject(str(run), [], "best"), str(found.test.name(found.samples(1)[0]))
    return path, explain(subject, find_sample(subject, first, None)), run.name, first


def test_clicks_on_200_values_of_a_phones_page_give_the_plain_loops_sums(page, tmp_path):
    path, explained, name, first = page
    image = explained.layers[0].x
    cells = random_cells([image.shape, *(layer.unit.output for layer in explained.layers)], 200, seed=1)
    told = in_browser(path, f"const CELLS = {cells};{CLICKS}", tmp_path, width=360)
    assert told["inner"] == 360
    assert max(told["wide"], told["after"]) <= 360, "the page scrolls sideways"
    names = ["image", *(layer.unit.name for layer in explained.layers)]
    for (number, *place), here in zip(cells, told["found"], strict=True):
        text = f"{names[number + 1]}/{','.join(map(str, place))}"
        cell = find_cell(text, None, explained.layers, image, explained.image_delta)
        close = {"rel": 1e-4, "abs": 1e-4}  # float32's weights and pixels against float64, and seven digits
        assert here["value"] == pytest.approx(cell.value, **close)
        assert here["title"].startswith(cell.written)
        assert here["told"].startswith(cell.written)
        assert here["command"] == f"lenumba explain {name} {first} --cell {cell.written}"
        for window in cell.windows:
            products = [values for key, values in here["columns"].items() if key.startswith("x·")]
            assert (window.products is None) == (not products)
            if products:
                count = min(window.products.size, 100) if window.values.shape[1:] == (1, 1) else window.products.size
                assert len(products[0]) == count
                if count == window.products.size:
                    assert sum(products[0]) + (cell.bias or 0) == pytest.approx(cell.value, **close)
            assert here["marks"]
            if window.values.shape[1:] != (1, 1):
                shown = np.where(window.inside, window.values, 0).ravel()
                np.testing.assert_allclose(here["columns"]["x"], shown, rtol=1e-4, atol=1e-4)


def test_keyboard_alone_reads_opens_follows_and_closes(page, tmp_path):
    path, explained, *_ = page
    unit = explained.layers[1].unit
    told = in_browser(path, KEYS, tmp_path)
    name, (_, height, width) = unit.name, unit.output
    last = f"{height - 1},{width - 1}"
    assert told["stops"]
    assert told["named"]
    assert told["way"][:4] == [f"{name}/0,0,1", f"{name}/0,1,1", f"{name}/1,1,1", f"{name}/1,{last}"]
    assert told["open"].startswith(f"{name}/")
    assert told["beside"] == 1
    assert told["followed"].startswith(f"{explained.layers[0].unit.name}/")
    assert told["focused"]
    assert told["closed"]
