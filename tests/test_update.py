"""The update kernels against torch.optim, step by step."""

import numpy as np
import pytest
import torch
from peer import tensor
from rounding import UNIT

from lenumba.engine.network.optimizers import SGD, Adam, AdamW, Hyperparameters
from lenumba.engine.training.buffers import aligned
from lenumba.kernels.compile.native import Source, get_program
from lenumba.kernels.constants import HYPER_COLUMNS, LANES

VECTORS, SHARDS, STEPS = 6, 3, 40
SIZE = VECTORS * LANES

PROGRAM = """
from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.layers.update import adam, adamw, sgd


@kernel
def run(kind, theta, state, gradients, decay, hyper, shards, size, first, last):
    if kind == 0:
        sgd(theta, state, gradients, decay, hyper, shards, size, first, last, NESTEROV=0)
    elif kind == 1:
        sgd(theta, state, gradients, decay, hyper, shards, size, first, last, NESTEROV=1)
    elif kind == 2:
        adam(theta, state, gradients, decay, hyper, shards, size, first, last)
    else:
        adamw(theta, state, gradients, decay, hyper, shards, size, first, last)
"""


def settings(**changes):
    return Hyperparameters(**{"weight_decay": 0.1, "momentum": 0.9, **changes})


@pytest.fixture(scope="module")
def update():
    signature = ["i64", "f32*", "f32*", "f32*", "f32*", "f32*", "i64", "i64", "i64", "i64"]
    return get_program(Source("update", PROGRAM, "run", signature))


@pytest.mark.parametrize(
    ("kind", "optimizer", "make_peer"),
    [
        (0, SGD(settings(momentum=0.0, weight_decay=0.0)), lambda p: torch.optim.SGD(p, lr=1)),
        (0, SGD(settings()), lambda p: torch.optim.SGD(p, lr=1, momentum=0.9)),
        (1, SGD(settings(nesterov=True)), lambda p: torch.optim.SGD(p, lr=1, momentum=0.9, nesterov=True)),
        (2, Adam(settings()), torch.optim.Adam),
        (3, AdamW(settings()), torch.optim.AdamW),
    ],
    ids=["plain", "momentum", "nesterov", "adam", "adamw"],
)
def test_update_follows_torch_optim_in_float64(update, kind, optimizer, make_peer):
    rng = np.random.default_rng(kind)
    theta, decay = aligned(SIZE), aligned(VECTORS)
    theta[:] = rng.normal(size=SIZE)
    decay[: VECTORS // 2] = 1
    state, gradients = aligned(optimizer.states * SIZE), aligned(SHARDS * SIZE)
    rates = rng.uniform(0.001, 0.02, STEPS)
    hyper = optimizer.hyper(rates, 1)
    decaying, others = tensor(theta[: SIZE // 2], grad=True), tensor(theta[SIZE // 2 :], grad=True)
    wanted = 0.0 if optimizer.row(1.0, 1)[1] == 0 else 0.1
    peer = make_peer([{"params": [decaying], "weight_decay": wanted}, {"params": [others], "weight_decay": 0.0}])
    path, before = 0.0, theta.astype(np.float64)
    for step in range(STEPS):
        gradients[:] = rng.normal(size=SHARDS * SIZE)
        total = gradients.reshape(SHARDS, SIZE).astype(np.float64).sum(axis=0)
        decaying.grad, others.grad = tensor(total[: SIZE // 2]), tensor(total[SIZE // 2 :])
        for group in peer.param_groups:
            group["lr"] = rates[step]
        peer.step()
        row = aligned(HYPER_COLUMNS)
        row[:] = hyper[step]
        buffers = [array.ctypes.data for array in (theta, state, gradients, decay, row)]
        for first, last in ((0, 2), (2, VECTORS)):  # two threads' slices
            update(kind, *buffers, SHARDS, VECTORS, first, last)
        assert not gradients.any()  # ready for the next batch
        after = np.concatenate([decaying.detach(), others.detach()])
        path, before = path + np.abs(after - before).max(), after
    # A step rounds θ (u·|θ|), and its length is off by at most u for each step that its running means remember.
    tolerance = UNIT * STEPS * (np.abs(after).max() + 2 * path)
    assert np.abs(theta - after).max() <= tolerance
    assert np.abs(theta - after).max() > 0  # float32 is not float64: the two were computed apart
