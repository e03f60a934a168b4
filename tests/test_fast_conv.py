"""Fast convolution: its matrices are exact, its kernels compute what the definition says, the same bits everywhere."""

import os
import subprocess
import sys
from fractions import Fraction
from itertools import product

import pytest
from harness import (
    STILL,
    avx2_setting,
    digest_of_training,
    make_executor,
    make_network,
    normalized,
    random_batch,
    random_parameters,
    run_program,
)
from rounding import Rounding

from lenumba.engine.config.config import load_config
from lenumba.engine.network.layers import forms
from lenumba.engine.network.layers.fast_conv import OUTPUTS, FastConv
from lenumba.engine.network.layers.toom_conv import ToomConv
from lenumba.engine.network.layers.winograd_conv import WinogradConv
from lenumba.engine.training.summary import summarize
from lenumba.kernels.vector.points import matrices


def conv(channels: int, size, padding=0, **more) -> dict:
    return {"type": "conv", "channels": channels, "kernel_size": size, "padding": padding, **more}


LAST = [{"type": "flatten"}, {"type": "dense", "units": 3, "activation": "softmax"}]
# Tiles that fit and that reach back, more maps than a tile of registers holds, and fewer, kernels of every size.
NETWORKS = {
    "3×3": ([conv(16, 3, 1, activation="relu"), conv(18, 3, 2, bias=False, activation="tanh"), *LAST], (13, 8, 3)),
    "5×5": (
        [conv(9, 5, activation="relu6"), conv(16, 5, "same", orientation="convolution"), *LAST],
        (15, 13, 6),
    ),
    "rows of 5×5, 3×3": (
        [conv(4, 5, activation="relu"), conv(7, 3, [1, 0], bias=False, activation="tanh"), *LAST],
        (14, 13, 1),
    ),
    "rows of 7×7, 2×3": ([conv(3, 7, [3, 1]), conv(6, [2, 3], orientation="convolution"), *LAST], (9, 14, 2)),
    "7×7, 3×5, 1×3": ([conv(8, 7, [3, 1]), conv(10, [3, 5]), conv(24, [1, 3]), *LAST], (9, 14, 4)),
}


LONG = ("5×5", "rows of 7×7, 2×3", "7×7, 3×5, 1×3")


@pytest.fixture(autouse=True)
def whatever_it_costs(request, monkeypatch):
    """Have every convolution computed at points that can be."""
    if "summary" not in request.node.name:
        for form in forms.FORMS:
            monkeypatch.setattr(form, "gain", float("inf"))
        monkeypatch.setattr(forms, "FORMS", [ToomConv if "rows" in request.node.name else WinogradConv])


def fast(network) -> list[FastConv]:
    return [unit.layer for unit in network.units if isinstance(unit.layer, FastConv)]


@pytest.mark.parametrize("taps", OUTPUTS)
def test_matrices_give_the_correlation_exactly(taps):
    a, g, b = matrices(OUTPUTS[taps], taps)
    assert len(a) == OUTPUTS[taps] + taps - 1
    for k, v, s in product(range(OUTPUTS[taps]), range(taps), range(len(a))):
        found = sum((a[p][k] * g[p][v] * b[p][s] for p in range(len(a))), Fraction(0))
        assert found == (s == k + v)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long("compiles for long")] * (name in LONG)) for name in NETWORKS]
)
def test_outputs_and_gradients_are_those_of_the_definition(name):
    layers, shape = NETWORKS[name]
    network = make_network(layers, shape)
    assert len(fast(network)) == sum(layer["type"] == "conv" for layer in layers)
    program = network.compile(STILL)
    for batch in (16, 37):
        theta = random_parameters(network, batch)
        images, labels = random_batch(network, batch, batch)
        executor = make_executor(network, program, theta, threads=2)
        found = run_program(executor, images, labels)
        rounding = Rounding(network, network.views(theta), normalized(executor, images), labels)
        excess = rounding.excess(found)
        assert max(excess.values()) <= 1, excess


HASWELL = """
import sys
sys.path.insert(0, sys.argv[1])
from harness import STILL, digest_of_training, make_network
from lenumba.engine.network.layers import forms
from test_fast_conv import NETWORKS
for form in forms.FORMS:
    form.gain = float("inf")
forms.FORMS = [form for form in forms.FORMS if sys.argv[2].startswith("rows") == (form.__name__ == "ToomConv")]
network = make_network(*NETWORKS[sys.argv[2]])
sys.exit(digest_of_training(network, network.compile(STILL), 2))
"""


@pytest.mark.parametrize("name", ["3×3", "rows of 5×5, 3×3"])
def test_avx2_code_and_threads_change_no_bit(name, tmp_path):
    network = make_network(*NETWORKS[name])
    done = subprocess.run(
        [sys.executable, "-c", HASWELL, os.path.dirname(__file__), name],
        env=os.environ | avx2_setting() | {"NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    program = network.compile(STILL)
    assert done.stderr.strip() == digest_of_training(network, program, 1) == digest_of_training(network, program, 3)


def test_weights_of_too_many_points_and_maps_that_no_tile_divides_stay_as_they_are():
    layers = [conv(channels, 3, 1) for channels in (480, 490, 480)]
    assert [layer.channels for layer in fast(make_network([*layers, *LAST], (8, 8, 480)))] == [480]
    assert not fast(make_network([conv(17, 3, 1), *LAST], (8, 8, 16)))


def test_small_batches_and_direct_networks_add_up_every_product():
    layers, shape = NETWORKS["3×3"]
    assert not fast(make_network(layers, shape, convolution="direct"))
    single = make_network(layers, shape, batch_size=1)
    assert single.unit == 1
    assert not any("winograd" in call.kernel for call in single.plan(STILL).calls)


def test_summary_says_what_is_fast(place):
    told = [note for note in summarize(load_config("lenet"))["notes"] if "fast" in note]
    forms = "conv1 by Toom–Cook F(4, 5) along rows, conv2 by Winograd F(4×4, 5×5)"
    assert told == [f"fast convolution: {forms}; network.convolution=direct goes without"]
    direct = summarize(load_config("lenet", {"network.convolution": "direct"}))
    assert not any("fast" in note for note in direct["notes"])
    assert {layer["form"] for layer in direct["layers"]} == {""}
