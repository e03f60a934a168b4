"""The report page: its scripts against the engine and the plain loops, and the page itself."""

import base64
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from harness import make_executor, normalized, random_batch, random_parameters
from node import for_scripts, packed, run_scripts
from PIL import Image, ImageDraw
from pydantic import TypeAdapter

from lenumba.engine.config.config import load_config
from lenumba.engine.data.images import prepare_digit
from lenumba.engine.explain.plain import backward, forward, judge
from lenumba.engine.models.model import load
from lenumba.engine.network.layers import Layer
from lenumba.engine.network.network import Network
from lenumba.engine.report import report as report_module
from lenumba.engine.report.findings import as_slid, look_into
from lenumba.engine.report.page import json_block, web_file
from lenumba.engine.training.buffers import planar

CONV = {"type": "conv", "channels": 3, "kernel_size": [3, 2], "activation": "relu"}
DENSE = {"type": "dense", "units": 4, "activation": "softmax"}
NORMED = {**CONV, "padding": "same", "norm": {"momentum": 0.1, "epsilon": 1e-3}}
BODIES = {
    "batch norm": [{**CONV, "norm": "batch"}, "batch_norm"],
    "groups": [{**CONV, "channels": 4, "groups": 2}, {"type": "depthwise_conv", "kernel_size": 2, "multiplier": 2}],
    "residual": [
        {
            "type": "residual",
            "layers": [NORMED, {"type": "residual", "layers": [NORMED], "activation": "tanh"}],
            "shortcut": [{**CONV, "kernel_size": 1}],
            "activation": "relu",
        }
    ],
    "plain": [CONV],
    "stride and padding": [{**CONV, "stride": [2, 1], "padding": [1, 2, 0, 1], "activation": "tanh"}],
    "same": [{**CONV, "stride": 2, "padding": "same", "activation": "leaky_relu"}],
    "true convolution": [{**CONV, "orientation": "convolution", "activation": "sigmoid"}],
    "no bias": [{**CONV, "bias": False}, {"type": "activation", "function": "tanh"}],
    "two convolutions": [CONV, {**CONV, "channels": 2, "activation": "none"}],
    "max pool": [{**CONV, "activation": "relu6"}, {"type": "max_pool", "size": 3, "stride": 2, "padding": 1}],
    "functions of the input": [{**CONV, "activation": "silu"}, {"type": "activation", "function": "hard_swish"}],
    "average inside": [{"type": "average_pool", "size": [2, 3], "stride": 2, "padding": 1, "count_padding": False}],
    "global average pool": [CONV, {"type": "global_average_pool"}],
    "global max pool": [CONV, {"type": "global_max_pool"}],
    "average pool": [{"type": "average_pool", "size": [2, 3], "stride": 2, "padding": 1}, CONV],
    "dropout": [{"type": "dropout", "rate": 0.5}, {"type": "max_pool", "size": 2, "stride": 1}],
}
HEADS = {
    "softmax": ([DENSE], "auto", 0.1),
    "hidden": ([{**DENSE, "units": 5, "activation": "relu"}, {**DENSE, "bias": False}], "auto", 0.0),
    "yes or no": ([{**DENSE, "units": 1, "activation": "sigmoid"}], "auto", 0.2),
    "several yes or no": ([{**DENSE, "activation": "sigmoid"}], "auto", 0.1),
    "squared error": ([{**DENSE, "activation": "sigmoid"}], "mean_squared_error", 0.0),
}
CASES = [(body, "softmax") for body in BODIES] + [("plain", head) for head in HEADS if head != "softmax"]
PASSES = """
answer(given.labels.map((label, n) => {
  const trace = network.forward(image(n)), verdict = network.judge(trace.outputs.at(-1), label);
  const { gradients, deltas } = network.backward(trace, verdict.dz);
  return {
    outputs: trace.outputs.map((y) => Array.from(y)), deltas: deltas.map((dy) => Array.from(dy)),
    gradients: gradients.flatMap((own) => Object.values(own).map((values) => Array.from(values))),
    loss: verdict.loss, shares: Array.from(verdict.outputs), guess: classOf(verdict.outputs),
  };
}));
"""


def assert_close(found, expected):
    """Compare lists of flat arrays in float64."""
    assert len(found) == len(expected)
    for here, there in zip(found, expected, strict=True):
        np.testing.assert_allclose(here, np.ravel(there), rtol=1e-10, atol=1e-12)


def small_network(body, head):
    layers, loss, smoothing = HEADS[head]
    layers = TypeAdapter(list[Layer]).validate_python([*BODIES[body], {"type": "flatten"}, *layers])
    network = Network(layers, (7, 6, 2), loss=loss)
    return network, make_executor(network, None, random_parameters(network), smoothing=smoothing), smoothing


@pytest.mark.parametrize(("body", "head"), CASES, ids=lambda value: value.replace(" ", "-"))
def test_passes_equal_the_plain_loops(body, head):
    network, executor, smoothing = small_network(body, head)
    planes, _ = random_batch(network, 2)
    labels, weights = np.array([0, 1]), {"0": 0.5, "1": 2.5}
    given = for_scripts(network, executor, smoothing, weights)
    found = run_scripts(PASSES, **given, pixels=packed(planes), labels=labels.tolist())
    parameters = network.views(executor.theta)
    for n, result in enumerate(found):
        x, label = normalized(executor, planes[n : n + 1]), labels[n : n + 1]
        outputs = forward(network, parameters, x)
        outcome = judge(network, outputs[-1], label, smoothing, np.array([weights[str(label[0])]]))
        gradients, deltas = backward(network, parameters, x, outputs, outcome.dz)
        slid = [
            as_slid(unit.layer, gradients[f"{unit.name}.{parameter.name}"])
            for unit in network.units
            for parameter in unit.parameters
            if parameter.learned
        ]
        assert_close(result["outputs"], outputs)
        assert_close(result["deltas"], deltas)
        assert_close(result["gradients"], slid)
        assert_close([result["shares"], [result["loss"]]], [outcome.outputs, outcome.loss])
        assert (result["guess"] == label[0]) == bool(outcome.correct)


def test_an_update_moves_what_is_trainable_against_its_gradient():
    frozen = [{**CONV, "trainable": False}, {"type": "flatten"}, DENSE]
    network = Network(TypeAdapter(list[Layer]).validate_python(frozen), (7, 6, 2))
    executor = make_executor(network, None, random_parameters(network))
    planes, _ = random_batch(network, 1)
    found = run_scripts(
        """
        const trace = network.forward(image(0)), { dz, loss } = network.judge(trace.outputs.at(-1), 2);
        const weights0 = network.layers.map((layer) => Array.from(layer.parameters.kernel ?? []));
        const { gradients } = network.backward(trace, dz);
        network.update(gradients, 0.01);
        answer({
          before: loss, after: network.judge(network.forward(image(0)).outputs.at(-1), 2).loss,
          moved: network.layers.map((layer, k) => weights0[k].map((w, n) => layer.parameters.kernel[n] - w)),
          gradients: gradients.map((own) => Array.from(own.kernel ?? [])),
        });
        """,
        **for_scripts(network, executor), pixels=packed(planes),
    )  # fmt: skip
    assert found["after"] < found["before"]
    assert np.any(found["gradients"][0])
    assert not np.any(found["moved"][0])  # the convolution is frozen
    assert_close([found["moved"][-1]], [-0.01 * np.array(found["gradients"][-1])])


def test_a_trained_network_answers_as_the_engine_does(finished_run):
    found = look_into(str(finished_run))
    images = found.dataset.test_images[:1000]
    given = {"network": report_module.describe_network(found.model)}
    given |= {"weights": base64.b64encode(report_module.flat_weights(found.model)).decode()}
    answers = run_scripts(
        """
        answer(Array.from({ length: 1000 }, (_, n) =>
          Array.from(network.judge(network.forward(image(n)).outputs.at(-1), 0).outputs)));
        """,
        **given, pixels=packed(planar(images)),
    )  # fmt: skip
    expected = load(finished_run).predict_proba(images)
    np.testing.assert_allclose(answers, expected, atol=1e-5)
    assert (np.argmax(answers, 1) == found.test.predicted[:1000]).all()


@pytest.mark.parametrize("stroke", [[(60, 40), (200, 40), (120, 250)], [(140, 20), (150, 260)], [(5, 5), (30, 20)]])
def test_the_pad_prepares_a_drawing_as_mnist_was(stroke, tmp_path):
    picture = Image.new("L", (280, 280))
    ImageDraw.Draw(picture).line(stroke, fill=255, width=22, joint="curve")
    picture.save(tmp_path / "drawn.png")
    found = run_scripts(
        """
        const ink = { width: 280, height: 280, values: bytes };
        answer(Array.from(prepareDigit(ink, [1, 28, 28])));
        """,
        pixels=packed(np.asarray(picture)),
    )  # fmt: skip
    expected = prepare_digit(tmp_path / "drawn.png")[:, :, 0].astype(int)
    difference = np.abs(np.reshape(found, (28, 28)) - expected)
    assert np.sum(difference > 1) <= 1  # where a pixel's edge falls on half a pixel, the two may round it differently


PAPER = """
let cells, wide; // a canvas as far as straight strokes with square caps go
const paper = () => ({
  at: { x: 1, y: 1 },
  scale(x, y) { this.at = { x, y }; },
  fillRect(left, top, across, down) { wide = canvas.width; cells = new Float64Array(wide * canvas.height); },
  beginPath() {},
  moveTo(x, y) { this.from = [x, y]; },
  lineTo(x, y) { this.to = [x, y]; },
  stroke() {
    const half = this.lineWidth / 2;
    const edges = (a, b, unit) => [(Math.min(a, b) - half) * unit, (Math.max(a, b) + half) * unit];
    const [left, right] = edges(this.from[0], this.to[0], this.at.x);
    const [top, bottom] = edges(this.from[1], this.to[1], this.at.y);
    for (let i = 0; i < cells.length / wide; i++)
      for (let j = 0; j < wide; j++) {
        const over = (low, high, k) => Math.max(0, Math.min(high, k + 1) - Math.max(low, k));
        const k = i * wide + j;
        cells[k] = Math.max(cells[k], 255 * over(top, bottom, i) * over(left, right, j));
      }
  },
  getImageData: () => ({ data: Float64Array.from({ length: 4 * cells.length }, (_, k) => Math.round(cells[k >> 2])) }),
  drawImage() {}, ellipse() {}, fill() {},
});
globalThis.document = { createElement: () => ({ getContext: paper }) };
const canvas = {
  addEventListener() {}, matches: () => false, getContext: paper, setPointerCapture() {},
  getBoundingClientRect: () => ({ left: 0, top: 0, width: 140, height: 140 }),
};
"""


@pytest.mark.parametrize("shape", [(28, 28), (8, 24), (24, 8), (5, 7)])
def test_the_pen_fills_whole_pixels_of_pictures_of_any_shape(shape):
    height, width = shape
    row, column = height // 2, width // 3
    found = run_scripts(
        web_file("pad.js") + PAPER + """
        const pad = new Pad(canvas, PENS.plain([1, given.height, given.width]), () => {});
        const side = { x: 140 / given.width, y: 140 / given.height };
        pad.press({
          clientX: (given.column + 0.6) * side.x, clientY: (given.row + 0.4) * side.y, preventDefault() {},
        });
        const first = Array.from(preparePlain(pad.ink, [1, given.height, given.width]));
        pad.drag({ clientX: (given.column + 1.6) * side.x, clientY: (given.row + 0.4) * side.y });
        answer([first, Array.from(preparePlain(pad.ink, [1, given.height, given.width]))]);
        """,
        height=height, width=width, row=row, column=column,
    )  # fmt: skip
    expected = np.zeros(shape)
    for image, right in zip(found, (column, column + 1), strict=True):
        expected[row, right] = 255
        np.testing.assert_allclose(np.reshape(image, shape), expected, atol=3)


def test_an_empty_pad_is_an_empty_image():
    text = "answer(Array.from(prepareDigit({ width: 4, height: 4, values: new Uint8Array(16) }, [1, 28, 28])));"
    assert run_scripts(text) == [0] * 784


def run_json(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="run">(.*?)</script>', page, re.DOTALL)
    return json.loads(found[1])


def test_the_page_is_self_contained(lenumba, run):
    result = lenumba("report", run)
    assert result.exit_code == 0, result.output
    page = (run / "report.html").read_text("utf-8")
    assert "$" + "title" not in page
    assert re.findall(r"(?:src|href)=|https?://(?!www\.w3\.org/2000/svg)|@import|url\(", page) == []
    values = run_json(page)
    assert np.frombuffer(base64.b64decode(values["weights"]), "<f4").size == load(run).network.parameter_count
    assert sum(map(sum, values["confusion"])) == 2000
    assert [line["epoch"] for line in values["history"]] == [1, 2, 3]
    assert len(values["mistakes"]["labels"]) == len(values["mistakes"]["lines"])
    assert sorted(set(values["samples"]["labels"])) == list(range(10))
    assert values["pad"] == "digit"


def test_text_of_the_user_cannot_end_the_script_or_become_html(tmp_path):
    name = "</script><script>alert(1)</script>"
    assert "<" not in json_block({"name": name})
    assert json.loads(json_block([name])) == [name]


@pytest.mark.parametrize(
    ("channels", "digits", "kind"), [(1, True, "digit"), (1, False, "plain"), (3, True, None), (3, False, None)]
)
def test_only_grey_images_are_drawn(channels, digits, kind):
    model = SimpleNamespace(loaded=load_config("quickstart"), image_shape=(16, 16, channels), shows_digits=digits)
    assert report_module.pad_kind(model) == kind


def test_report_refuses_in_one_line(refused, run, monkeypatch):
    assert "no run folder" in refused(2, "report", "nowhere")
    assert "make the folder gone" in refused(3, "report", run, "--out", "gone/report.html")
    monkeypatch.setattr(report_module, "MOST_PARAMETERS", 10)
    assert "at most 10 parameters" in refused(2, "report", run)


def test_pictures_are_read_as_bytes_of_the_run_data(run):
    values = run_json(report_module.report_page(found := look_into(str(run))))
    pixels = np.frombuffer(base64.b64decode(values["samples"]["pixels"]), np.uint8).reshape(-1, 1, 28, 28)
    number = found.samples(3)[7]
    assert (pixels[7, 0] == found.dataset.test_images[number, :, :, 0]).all()
    assert values["samples"]["labels"][7] == found.dataset.test_labels[number]


DAMAGE = [
    ("metrics.jsonl", {"train_loss": 1e308}),
    ("metrics.jsonl", {"learning_rate": -1e308}),
    ("metrics.jsonl", {"a key of its own": [1e308]}),
    ("metrics.jsonl", {"epoch": 10**400}),
    ("metrics.jsonl", {"seconds": float("nan")}),
    ("histograms.jsonl", {"tensors": {"dense1.kernel": {"low": -1e308, "high": 1e308, "counts": [1]}}}),
    ("run.json", {"wall_s": 1e308}),
    ("run.json", {"images_per_second": 10**400}),
]


@pytest.mark.parametrize(("name", "values"), DAMAGE)
@pytest.mark.parametrize("command", ["report", "plot"])
def test_numbers_that_nothing_measures_are_refused_in_one_line(refused, run, name, values, command):
    path = run / name
    before = path.read_text() if path.exists() else '{"epoch": 1}'
    first, rest = (before, "") if name == "run.json" else (before.split("\n")[0], "".join(before.splitlines(True)[1:]))
    path.write_text(f"{json.dumps(json.loads(first) | values)}\n{rest}")
    if (command, name) != ("plot", "run.json"):  # which it does not read
        assert f"{run / name}" in refused(3, command, run)


def test_outputs_that_are_not_finite_are_null_on_the_page(lenumba, run):
    """Weights may be finite, and their outputs not."""
    assert lenumba("export", run, "--format", "npz", "--out", "x.npz").exit_code == 0
    with np.load("x.npz") as file:
        huge = {name: file[name] / abs(file[name]).max() * 3e38 for name in ("dense1.kernel", "dense1.bias")}
    np.savez("huge.npz", **huge)
    assert lenumba("import", "huge.npz", "--config", "tiny.yaml", "--out", "huge").exit_code == 0
    result = lenumba("report", "huge")
    assert result.exit_code == 0, result.output
    assert lenumba("plot", "huge").exit_code == 0
    result = lenumba("evaluate", "huge", "--html", "page.html", "--json")
    assert result.exit_code == 0, result.output
    assert "NaN" not in result.stdout
    values = run_json(Path("huge/report.html").read_text("utf-8"))
    assert any("nan" in line for lines in values["mistakes"]["lines"] for line in lines)


def test_the_page_has_an_epochs_figures_and_no_more(lenumba, run):
    lines = [json.loads(line) | {"its own": "x"} for line in (run / "metrics.jsonl").read_text().splitlines()]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert lenumba("report", run).exit_code == 0
    assert all("its own" not in line for line in run_json((run / "report.html").read_text("utf-8"))["history"])
