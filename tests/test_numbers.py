"""Numbers of a configuration are those of the program: float32."""

import pytest

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.config.config import read_config

TEXT = """
data: {name: digits}
network:
  layers:
    - {type: dropout, rate: 0.5}
    - {type: conv, channels: 1, kernel_size: 1}
    - flatten
    - {type: dense, units: 10, activation: softmax}
"""


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("optimizer.max_norm", 1e300),
        ("optimizer.learning_rate", 1e308),
        ("optimizer.epsilon", 1e-50),
        ("optimizer.weight_decay", 1e-40),
        ("optimizer.momentum", 1 - 1e-12),
        ("optimizer.beta1", 1 - 1e-12),
        ("loss.label_smoothing", 1 - 1e-12),
        ("network.layers.0.rate", 1 - 1e-12),
        ("augment.noise", 1e-60),
        ("network.layers.1.kernel", [[[[1e300]]]]),
    ],
)
def test_a_number_that_float32_does_not_hold_is_refused(path, value):
    with pytest.raises(ConfigError, match=f"override {path}: expected (a )?float32, .*, found ") as caught:
        read_config(TEXT, "some.yaml", {path: value})
    assert "\n" not in str(caught.value)


def test_numbers_at_the_edge_of_float32_are_taken():
    changes = {"optimizer.max_norm": 3.4e38, "optimizer.epsilon": 1.2e-38, "optimizer.momentum": 1 - 2.0**-24}
    assert read_config(TEXT, "some.yaml", changes).config.optimizer.max_norm == 3.4e38
