"""Signals on the report page: curves, answered as the engine does; dropped files are read as `predict` reads them."""

import base64
import json

import numpy as np
import pytest
from node import run_scripts
from test_report_pictures import dropped

import lenumba as package
from lenumba.engine.report.findings import look_into
from lenumba.engine.report.page import web_file
from lenumba.engine.report.report import describe_network, flat_weights, write_report

LENGTH, CHANNELS = 20, 2
LAYERS = [
    {"type": "conv", "channels": 6, "kernel_size": 5, "stride": 2, "norm": "batch", "activation": "relu"},
    {"type": "average_pool", "size": 2},
    "flatten",
    {"type": "dense", "units": 2, "activation": "softmax"},
]


def make_signals(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return noise float32 [N, L, C] with a bump in one of its channels, and which."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CHANNELS, count)
    signals = rng.normal(5, 1, (count, LENGTH, CHANNELS))
    signals[np.arange(count), 5:12, labels] += 2
    return signals.astype(np.float32), labels


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A run on such signals and its page."""
    folder = tmp_path_factory.mktemp("page")
    config = {
        "data": {"name": "npz", "root": str(folder / "bumps.npz"), "batch_size": 16},
        "network": {"input": [LENGTH, CHANNELS], "layers": LAYERS},
        "train": {"epochs": 4},
    }
    (x, y), (x_test, y_test) = make_signals(200, 0), make_signals(60, 1)
    names = np.array(["left", "right"])
    np.savez(folder / "bumps.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test, class_names=names)
    run = package.train(config, out=folder / "run")
    found = look_into(str(run.path))
    write_report(found, folder / "report.html")
    return found, folder / "report.html"


def test_the_page_answers_signals_as_the_engine_does(page):
    model, (signals, _) = page[0].model, make_signals(40, 2)
    planes = np.ascontiguousarray(signals[:, None].transpose(0, 3, 1, 2), "<f4")
    found = run_scripts(
        """
        const values = decodeValues(given.pixels, "float32");
        answer(Array.from({ length: values.length / size }, (_, n) => {
          const z = network.forward(values.subarray(n * size, (n + 1) * size)).outputs.at(-1);
          return Array.from(network.judge(z, 0).outputs);
        }));
        """,
        network=describe_network(model),
        weights=base64.b64encode(flat_weights(model)).decode(),
        pixels=base64.b64encode(planes.tobytes()).decode(),
    )
    np.testing.assert_allclose(found, model.predict_proba(signals), atol=1e-5)


def text_of(signals: np.ndarray, labels: np.ndarray, delimiter: str = ",") -> str:
    """Return rows with a header and the label in the middle of nowhere: the second column."""
    rows = [delimiter.join(["t0", "label", *(f"t{k}" for k in range(1, signals[0].size))])]
    for signal, label in zip(signals.reshape(len(signals), -1).tolist(), labels.tolist(), strict=True):
        rows.append(delimiter.join(map(str, [signal[0], label, *signal[1:]])))
    return "\r\n".join(rows) + "\r\n\r\n"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_rows_are_read_as_by_predict(delimiter):
    signals, labels = make_signals(5, 3)
    found = run_scripts(
        web_file("rows.js") + "answer(readRows(given.text, given.shape).map(({ line, values }) => [line, ...values]));",
        text=text_of(signals, labels, delimiter),
        shape=[CHANNELS, 1, LENGTH],
    )
    assert [row[0] for row in found] == [2, 3, 4, 5, 6]
    np.testing.assert_array_equal(np.float32([row[1:] for row in found]), signals.transpose(0, 2, 1).reshape(5, -1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,1,2\nb,1,nan\n", "line 2: expected finite numbers, found nan"),
        ("a,1,2\nb,1,\n", "line 2: expected finite numbers, found nothing"),
        ("a,1,2\nb,1\n", "line 2: expected 3 columns, found 2"),
        ("a,1,2,3,4\n", "line 1: expected 2 values, and perhaps a label, found 5 columns"),
        ("\n", "expected a signal in each row, found no rows"),
    ],
)
def test_a_wrong_row_is_named(text, expected):
    body = "try { readRows(given.text, [1, 1, 2]); } catch (error) { answer(error.message); }"
    assert run_scripts(web_file("rows.js") + body, text=text) == expected


def test_a_dropped_file_gets_the_answer_of_predict(page, tmp_path):
    found, path = page
    signals, labels = make_signals(3, 4)
    files = {f"{k}.csv": text_of(signals[k:], labels[k:]).encode() for k in range(3)}
    answers = dropped(path, files | {"bad.csv": b"1,2,3\n"}, tmp_path)
    outputs = found.model.predict_proba(signals)
    for item, row in zip(answers[:3], outputs, strict=True):
        assert item["answer"].startswith(f"{found.model.class_names[row.argmax()]} – ")
        np.testing.assert_allclose(item["shares"], row, atol=1e-3)
    assert answers[-1]["said"] == "bad.csv: line 1: expected 40 values, and perhaps a label, found 3 columns"


def test_the_page_has_curves_and_no_pad(page):
    html = page[1].read_text()
    assert 'id="pad"' in html  # the script takes it away
    values = json.loads(html.split('id="run">')[1].split("</script>")[0])
    assert (values["pad"], values["prepare"], values["type"]) == (None, "signal", "float32")
    assert "Choose a CSV file" in html
