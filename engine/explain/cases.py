"""The networks of the self-test: together they call every kernel but `augment`."""

from dataclasses import dataclass
from typing import Any

from lenumba.engine.config.sections import Optimizer
from lenumba.engine.network.activations import ACTIVATIONS
from lenumba.engine.network.layers import (
    LAYERS,
    Activation,
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    DepthwiseConv,
    Dropout,
    Flatten,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool,
    Residual,
)
from lenumba.engine.network.losses import LOSSES
from lenumba.engine.network.network import Network
from lenumba.engine.network.optimizers import OPTIMIZERS, make_optimizer
from lenumba.kernels.program.source import kernels_of

IMAGES = 5  # one block of 16 lanes, not filled
SHAPE = (6, 7, 2)  # height, width, channels
TOLERANCE = 1e-4  # of a tensor's largest value: sums of at most 10² float32 products are off by 10⁻⁶ of it
RATE, SMOOTHING = 0.1, 0.1
EPSILON = 0.1  # large: at 10⁻⁸, what rounding makes of a gradient near 0 would decide the sign of a whole step
SGD = Optimizer(name="sgd", weight_decay=0.01, momentum=0.9, nesterov=True)
CLIPPED = Optimizer(name="adam", weight_decay=0.01, epsilon=EPSILON, max_norm=0.1)
ADAMW = Optimizer(name="adamw", weight_decay=0.01, beta1=0.9, beta2=0.999, epsilon=EPSILON, average=0.99)


@dataclass(frozen=True)
class Case:
    """A network, the optimiser of its one step, whether it takes images one by one, what they are made of, its loss.

    `weighted`: whether the losses of the images count differently; `target`: what it is trained to give; `answers`:
    whether it only answers, which is compared without a step.
    """

    name: str
    layers: tuple[Any, ...]
    optimizer: Optimizer = SGD
    singly: bool = False
    pixels: str = "uint8"
    loss: str = "auto"
    weighted: bool = False
    target: str = "class"
    answers: bool = False

    @property
    def network(self) -> Network:
        """The network."""
        batch = IMAGES if self.singly or self.answers else None
        return Network(
            self.layers, SHAPE, batch_size=batch, pixels=self.pixels, loss=self.loss, weighted=self.weighted,
            target=self.target, answers=self.answers,
        )  # fmt: skip

    @property
    def kernels(self) -> set[str]:
        """The kernels that it calls."""
        return kernels_of(self.network.plan(make_optimizer(self.optimizer)))


# Together they call every kernel but `augment`, whose random numbers the tests follow: small, as each
# costs seconds to compile once.
CASES = (
    Case(
        "blocks, softmax, sgd",
        (
            Conv(channels=3, kernel_size=3, padding=1, activation="relu"),
            MaxPool(size=3, stride=2),
            Dropout(rate=0.25),
            Conv(channels=2, kernel_size=2, activation="tanh"),
            AveragePool(size=2, padding=1, count_padding=False),
            GlobalAveragePool(),
            Dense(units=5, activation="leaky_relu"),
            Dense(units=3, activation="softmax"),
        ),
    ),
    Case(
        "single images, sigmoid, adamw",
        (
            Conv(channels=2, kernel_size=3, padding=1, activation="sigmoid"),
            AveragePool(size=2, stride=1),
            Conv(channels=3, kernel_size=2, activation="tanh"),
            MaxPool(size=2, stride=1),
            GlobalAveragePool(),
            Dense(units=4, activation="relu"),
            Dense(units=3, activation="sigmoid"),
        ),
        ADAMW,
        singly=True,
    ),
    Case(
        "blocks of floats, weighted, squared error",
        (
            GlobalMaxPool(),
            Flatten(),
            Dense(units=4, activation="relu6"),
            Dense(units=4, activation="silu"),
            Dense(units=4, activation="hard_swish"),
            Dense(units=4),
            Activation(function="sigmoid"),
            Dense(units=3),
        ),
        CLIPPED,
        pixels="float32",
        weighted=True,
    ),
    Case(
        "blocks that wait for one another, sgd",
        (
            Conv(channels=3, kernel_size=3, padding=1, bias=False, norm="batch", activation="relu"),
            MaxPool(size=2, stride=1),
            BatchNorm(),
            DepthwiseConv(kernel_size=2, multiplier=2),
            Conv(channels=4, kernel_size=1, groups=2),
            Residual(
                layers=(Conv(channels=2, kernel_size=3, stride=2, padding="same", bias=False, norm="batch"),),
                shortcut=(Conv(channels=2, kernel_size=1, stride=2),),
                activation="relu",
            ),
            Flatten(),
            Dense(units=3, bias=False, norm="batch"),
            Dense(units=3, activation="softmax"),
        ),
    ),
    Case(
        "convolutions at points",
        (
            Conv(channels=4, kernel_size=(4, 5), padding="same", activation="relu"),
            Conv(channels=6, kernel_size=5, padding=3, activation="tanh"),
            Flatten(),
            Dense(units=3, activation="softmax"),
        ),
    ),
    Case(
        "single images, channels side by side",
        (
            Conv(channels=32, kernel_size=3, padding=1, activation="relu"),
            Conv(channels=32, kernel_size=3, padding=1, activation="tanh"),
            DepthwiseConv(kernel_size=3, stride=2),
            Flatten(),
            Dense(units=3, activation="softmax"),
        ),
        answers=True,
    ),
    Case("several labels", (Flatten(), Dense(units=3, activation="sigmoid")), weighted=True, target="labels"),
    Case("the input as target", (Flatten(), Dense(units=84)), pixels="float32", target="input"),
)


def all_cases() -> list[Case]:
    """Return the cases, and one more for whatever was added to the tables and is in none of them."""
    known = set().union(*(case.kernels for case in CASES))
    layers = {layer.kind for case in CASES for layer in case.layers}
    dense = Dense(units=3)
    return [
        *CASES,
        *(
            Case(name, (Flatten(), Dense(units=4, activation=name), dense))
            for name, function in ACTIVATIONS.items()
            if not function.kernels().keys() <= known
        ),
        *(
            Case(name, (Flatten(), Dense(units=3, activation=loss.fused or "none")), loss=name, target=target)
            for name, loss in LOSSES.items()
            for target in loss.targets
            if loss.kernel_for(target) not in known and target != "input"
        ),
        *(
            Case(name, (Flatten(), dense), Optimizer(name=name, weight_decay=0.01, epsilon=EPSILON))
            for name, optimizer in OPTIMIZERS.items()
            if not optimizer.kernels().keys() <= known
        ),
        *(
            Case(name, (Conv(channels=3, kernel_size=3), layer.example(), Flatten(), dense), singly=singly)
            for name, layer in LAYERS.items()
            if name not in layers
            for singly in {False, layer.example().takes_single_images}
        ),
    ]
