"""What the tests of compiled programs share: small networks, and gradients read off a program."""

import hashlib
import platform
from typing import Any, NamedTuple

import numpy as np
import pytest
from pydantic import TypeAdapter

from lenumba.engine.data.normalization import Normalization
from lenumba.engine.network.layers import Layer
from lenumba.engine.network.network import Network
from lenumba.engine.network.optimizers import SGD, Hyperparameters
from lenumba.engine.training.buffers import planar
from lenumba.engine.training.executor import Executor
from lenumba.kernels.compile.native import Native

STILL = SGD(Hyperparameters(momentum=0.0))  # leaves the gradient in state
MOMENTUM = SGD(Hyperparameters(weight_decay=1e-3))  # the program of STILL


def make_network(
    layers: list[dict[str, Any]], shape: tuple[int, int, int], name: str = "network", **more: Any
) -> Network:
    return Network(TypeAdapter(list[Layer]).validate_python(layers), shape, name=name, **more)


def lenet(function: str = "relu", pool: str = "average_pool", batch_size: int | None = None, **conv: Any) -> Network:
    layers = [
        {"type": "conv", "channels": 4, "kernel_size": 5, "activation": function, **conv},
        {"type": pool, "size": 2},
        {"type": "conv", "channels": 6, "kernel_size": 5, "activation": function, **conv},
        {"type": pool, "size": 2},
        {"type": "flatten"},
        {"type": "dense", "units": 50, "activation": function},
        {"type": "dense", "units": 10, "activation": "softmax"},
    ]
    return make_network(layers, (28, 28, 1), "lenet", batch_size=batch_size)


class Result(NamedTuple):
    loss: float
    correct: int
    outputs: np.ndarray  # probabilities [N, outputs]
    gradients: dict[str, np.ndarray]


def make_executor(
    network: Network,
    program: Native,
    theta: np.ndarray,
    threads: int = 1,
    smoothing: float = 0.0,
    optimizer=STILL,
    **more: Any,
) -> Executor:
    channels = network.input_shape[0]
    executor = Executor(
        network, program, optimizer, threads=threads, smoothing=smoothing,
        normalization=Normalization(np.linspace(0.1, 0.3, channels), np.linspace(0.3, 0.4, channels)), **more,
    )  # fmt: skip
    executor.theta[:] = theta
    return executor


def random_batch(network: Network, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (size, *network.image_shape), np.uint8)
    return planar(images), rng.integers(0, network.outputs, size)


def random_parameters(network: Network, seed: int = 0) -> np.ndarray:
    """Initial parameters whose biases are not zero, so that a forgotten bias shows."""
    flat = network.initial_parameters(seed)
    rng = np.random.default_rng(seed)
    for name, view in network.views(flat).items():
        if name.endswith("bias"):
            view[...] = rng.uniform(-0.3, 0.3, view.shape)
    return flat


def statistics_of(network: Network, theta: np.ndarray) -> np.ndarray:
    """Make running variances positive, which random ones are not; return the parameters."""
    for name, view in network.views(theta).items():
        if name.endswith("running_var"):
            view[...] = 0.5 + np.abs(view)
    return theta


def run_program(executor: Executor, images: np.ndarray, labels: np.ndarray) -> Result:
    """One batch through a compiled program: the batch's mean gradient stays in the state of an optimiser at rest."""
    order = np.arange(len(images))
    _, totals = executor.train(images, labels, order, len(images), STILL.hyper(np.zeros(1), 1))
    _, outputs = executor.evaluate(images, labels, order)
    network = executor.network
    gradients = {name: view.astype(np.float64) for name, view in network.views(executor.state).items()}
    return Result(totals[0] / len(images), int(totals[1]), outputs, gradients)


def normalized(executor: Executor, images: np.ndarray) -> np.ndarray:
    scale, shift = executor.scale.astype(np.float64), executor.shift.astype(np.float64)
    return images * scale[:, None, None] + shift[:, None, None]


def avx2_setting() -> dict[str, str]:
    """Return the environment in which programs are compiled for AVX2: what the CPU has beyond that is switched off."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    if platform.machine() not in ("x86_64", "AMD64") or not (features.get("avx2") and features.get("fma")):
        pytest.skip("this CPU has no AVX2")
    beyond = ("avx512", "avx10", "evex512", "amx")
    flags = [("+" if there and not name.startswith(beyond) else "-") + name for name, there in features.items()]
    return {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ",".join(sorted(flags))}


def digest_of_training(network, program, threads: int) -> str:
    """Train 3 epochs on 1 000 random images; return a SHA-256 over the parameters, the losses and the outputs."""
    images, labels = random_batch(network, 1000)
    executor = make_executor(network, program, random_parameters(network), threads, optimizer=MOMENTUM)
    digest = hashlib.sha256()
    for epoch in range(3):
        order = np.random.default_rng(epoch).permutation(1000)
        hyper = MOMENTUM.hyper(np.full(16, 0.05), 1)
        digest.update(executor.train(images, labels, order, 64, hyper)[1].tobytes())
    digest.update(executor.evaluate(images, labels, np.arange(1000))[1].tobytes())
    digest.update(executor.theta.tobytes())
    assert np.isfinite(executor.theta).all()
    return digest.hexdigest()
