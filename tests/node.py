"""Running the report page's scripts in Node, for the tests that compare them with the engine."""

import base64
import json
import shutil
import subprocess
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lenumba.engine.report.page import web_file
from lenumba.engine.report.report import describe_network, flat_weights, network_script

PREAMBLE = """
const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
const weights = given.weights && new Float32Array(decode(given.weights).buffer);
const network = given.network && new Network(given.network, weights);
const size = network && sizeOf(network.input);
const bytes = given.pixels && decode(given.pixels);
const image = (n) => bytes.subarray(n * size, (n + 1) * size);
"""


def run_scripts(body: str, **given: Any) -> Any:
    """Run JavaScript after the page's own, with `given` as an object; return what it hands to `answer`."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node: install Node.js to compare the report page's scripts with the engine")
    scripts = network_script() + "".join(map(web_file, ("drawing.js", "picture.js", "digit.js")))
    text = f"{scripts}{PREAMBLE}const answer = (value) => console.log(JSON.stringify(value));\n{body}"
    done = subprocess.run(
        [node, "--input-type=commonjs", "-e", text], input=json.dumps(given), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def for_scripts(
    network: Any, executor: Any, smoothing: float = 0.0, weights: dict[str, float] | None = None
) -> dict[str, Any]:
    """Return a network as the page gets it; `weights`: of classes, which are called by their numbers."""
    config = SimpleNamespace(loss=SimpleNamespace(label_smoothing=smoothing))
    model: Any = SimpleNamespace(network=network, executor=executor, loaded=SimpleNamespace(config=config))
    model.class_weights, model.class_names = weights, tuple(map(str, range(max(2, network.outputs))))
    return {"network": describe_network(model), "weights": base64.b64encode(flat_weights(model)).decode()}


def packed(planes: np.ndarray) -> str:
    """Return images uint8 [N, C, H, W] as base64."""
    return base64.b64encode(planes.tobytes()).decode()
