"""What configurations say of layers inside of layers, and of norms."""

from pathlib import Path

import numpy as np
import pytest

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.config.config import dump_config, read_config
from lenumba.engine.network.layers import BatchNorm
from lenumba.engine.runs.prepare import check_run
from lenumba.engine.runs.transfer import Source, fitting

HEAD = "data: {name: shapes}\nnetwork:\n  layers:\n"
TAIL = "    - flatten\n    - {type: dense, units: 6, activation: softmax}\n"
NESTED = """\
    - type: residual
      layers:
        - {type: conv, name: a, channels: 3, kernel_size: 3, padding: 1, norm: batch}
        - {type: residual, layers: [{type: conv, name: b, channels: 3, kernel_size: 1}]}
"""


def checked(layers: str, *overrides: str):
    loaded = read_config(HEAD + layers + TAIL, "my.yaml", overrides)
    return loaded.config, check_run(loaded)


def faults(layers: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        checked(layers, *overrides)
    return str(caught.value).splitlines()


def nested(depth: int) -> dict:
    layer = {"type": "conv", "channels": 3, "kernel_size": 1}
    for _ in range(depth):
        layer = {"type": "residual", "layers": [layer]}
    return layer


def test_all_faults_of_nested_layers_at_once_with_their_lines():
    layers = """\
    - type: residual
      layers:
        - type: conv
          channels: 3
          kernel_size: 3
          kernel_sise: 3
        - {type: conv, channels: x, kernel_size: 3, norm: bach}
      shortcut:
        - {type: con, channels: 5}
      short: 3
    - {type: depthwise_conv, kernel_size: 3, channels: 4}
"""
    found = faults(layers)
    for line, words in (
        (9, "network.layers.0.layers.0.kernel_sise: unknown key (did you mean 'kernel_size'?)"),
        (10, 'network.layers.0.layers.1.channels: expected an integer from 1 to 1024, found "x"'),
        (10, "network.layers.0.layers.1.norm: expected one of none, batch or indented 'key: value' lines"),
        (12, "network.layers.0.shortcut.0.type: expected one of"),
        (13, "network.layers.0.short: unknown key (did you mean 'shortcut'?)"),
        (14, "network.layers.1.channels: unknown key"),
    ):
        assert [one for one in found if one.startswith(f"my.yaml:{line}: {words}")], found
    assert len(found) == 6


def test_a_layer_s_own_norm_takes_momentum_and_epsilon():
    layer = "    - {type: conv, channels: 3, kernel_size: 3, norm: {momentum: 0.01, epsilon: 1e-3}}\n"
    config, network = checked(layer)
    assert network.units[1].layer == BatchNorm(momentum=0.01, epsilon=1e-3)
    assert read_config(dump_config(config), "again").config == config
    assert checked(layer, "network.layers.0.norm.epsilon=0.5")[1].units[1].layer == BatchNorm(
        momentum=0.01, epsilon=0.5
    )
    assert checked(NESTED, "network.layers.0.layers.0.norm={}")[1].units[1].layer == BatchNorm()
    assert faults("    - {type: conv, channels: 3, kernel_size: 3, norm: {momentun: 1, epsilon: -1}}\n") == [
        "my.yaml:4: network.layers.0.norm.epsilon: expected a number > 0, found -1",
        "my.yaml:4: network.layers.0.norm.momentun: unknown key (did you mean 'momentum'?)",
    ]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("layers.0.channels=x", "channels: expected an integer from 1 to 1024, found"),
        ("layers.7.channels=4", "layers.7.channels: expected an index below 2"),
        ("shortcut.0.channels=4", "shortcut: expected a list of 0 to 64 items"),
        ("layers.0.norm.momentum=0.5", "layers.0.norm.momentum: expected a section at network.layers.0.layers.0.norm"),
        ("layers.0.padding.0=1", "layers.0.padding.0: expected a section at"),
        ("layers.1.layers.0.name=a", "'a' is also the name of layer 0.layers.0"),
        (
            "layers.1.layers.0.channels=4",
            "expected equal shapes to add, found 16×16×4 from its layers and 16×16×3 from",
        ),
    ],
)
def test_wrong_override_inside_of_a_layer_is_one_line(override, words):
    (line,) = faults(NESTED, f"network.layers.0.{override}")
    assert words in line


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("{type: conv, channels: 4, kernel_size: 3, groups: 3}", "expected a divisor of its 3 input channels and 4"),
        ("{type: depthwise_conv, kernel_size: 3, multiplier: 1024}", "at most 1024 channels, found 3 × 1024"),
        ("{type: residual, layers: []}", "expected a list of 1 to 64 items, found []"),
    ],
)
def test_layers_that_do_not_fit_are_one_line(layer, words):
    (line,) = faults(f"    - {layer}\n")
    assert line.startswith("my.yaml:4: network.layers.0")
    assert words in line


def test_a_batch_of_one_image_has_no_variance():
    (line,) = faults("    - {type: conv, channels: 4, kernel_size: 3, norm: batch}\n", "data.batch_size=1")
    assert (
        line
        == "override data.batch_size: expected at least 2 for batch norm, found 1: one image has no variance; use more"
    )
    dense = "    - flatten\n    - {type: dense, units: 4, norm: batch}\n"
    (line,) = faults(dense, "data.samples=101", "data.validation=0", "data.batch_size=50")
    assert "the last batch of 101 images would be a single one, which has no variance for batch norm" in line


@pytest.mark.parametrize("depth", [1, 13, 20, 400, 5000])
def test_plain_data_nest_as_deeply_as_yaml_may(depth):
    """What a run wrote down of them could not be read again."""
    layers = [nested(depth), "flatten", {"type": "dense", "units": 6, "activation": "softmax"}]
    plain, overrides = {"data": {"name": "shapes"}, "network": {"layers": layers}}, {"network.layers": layers}
    if depth < 14:
        config = read_config(plain, "plain").config
        assert read_config(dump_config(config), "again").config == config
        assert read_config(HEAD + TAIL, "my.yaml", overrides).config == config
        return
    for content, changes in ((plain, {}), (HEAD + TAIL, overrides)):
        with pytest.raises(ConfigError, match="expected at most 32 levels of nesting, found more") as caught:
            read_config(content, "mine", changes)
        assert "\n" not in str(caught.value)


def test_transfer_takes_a_layer_with_its_norm_or_neither():
    two = """\
    - {type: conv, channels: 4, kernel_size: 3, groups: GROUPS, norm: batch}
    - {type: residual, layers: [{type: conv, channels: 4, kernel_size: 1, norm: batch}]}
"""
    first = "    - {type: conv, channels: 4, kernel_size: 3, padding: 1, norm: batch}\n"
    _, source = checked(first + two.replace("GROUPS", "1"))
    _, network = checked(first + two.replace("GROUPS", "2"))
    loaded = read_config(HEAD + TAIL, "my.yaml")
    tensors = {name: np.zeros(parameter.shape) for name, parameter in source.parameters.items()}
    taken, drawn = fitting(Source(Path("run"), tensors, frozenset()), network, loaded)
    assert {name.partition(".")[0] for name in drawn} == {"conv2", "conv2_norm"}
    assert {name.partition(".")[0] for name in taken} == {"conv1", "conv1_norm", "conv3", "conv3_norm", "dense1"}


def test_layers_that_do_not_fit_are_told_all_at_once_with_what_to_do():
    text = """\
    - {type: conv, channels: 4, kernel_size: 3, padding: 1, groups: 2}
    - type: residual
      layers: [{type: conv, channels: 8, kernel_size: 3, groups: 3}]
      shortcut: [{type: conv, channels: 9, kernel_size: 1}]
    - {type: residual, layers: [{type: residual, layers: [flatten], shortcut: [{type: max_pool, size: 40}]}]}
    - {type: depthwise_conv, kernel_size: 3}
"""
    found = faults(text)
    expected = [
        ("4: network.layers.0: groups: expected a divisor of its 3 input channels and 4 channels, found 2", "use 1"),
        ("6: network.layers.1.layers.0: groups: expected a divisor of its 4 input", "use 1 or 2 or 4"),
        ("5: network.layers.1: expected equal shapes to add, found", "change one of them"),
        ("8: network.layers.2.layers.0.layers.0: flatten cannot stand in a residual", "put it before or behind that"),
    ]
    assert len(found) == len(expected), found
    for line, (start, advice) in zip(found, expected, strict=True):
        assert line.startswith(f"my.yaml:{start}"), line
        assert line.endswith(f"; {advice}"), line
