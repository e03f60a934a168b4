"""The sections of a configuration, each checked by itself."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from lenumba.engine.config.faults import nearest, show
from lenumba.engine.network.layers import LIST, Layer, Strictly
from lenumba.engine.network.losses import LossName
from lenumba.engine.network.optimizers import Hyperparameters

DATASETS = (
    "digits",
    "mnist",
    "fashion_mnist",
    "cifar10",
    "digits8x8",
    "bars",
    "shapes",
    "folder",
    "npz",
    "idx",
    "csv",
    "arrays",
)
OWN_FILES = ("folder", "npz", "idx", "csv")  # the user's: they need data.root
OF_NUMBERS = ("npz", "csv", "arrays")  # may come with several labels or numbers for each sample
OF_SIGNALS = ("npz", "csv", "arrays")  # may hold signals; csv holds nothing else
MAX_SIDE = 1024  # pixels of an image
MAX_KERNEL_VALUES = 1024  # keeps every resolved configuration below the size that load_yaml accepts
IN_MEMORY = "arrays"  # the user's too, but in no file
PUBLISHED = ("mnist", "fashion_mnist", "cifar10")  # may be in data.root; the others need no files


def _known_dataset(name: str) -> str:
    if name not in DATASETS:
        raise ValueError(f"expected one of {', '.join(DATASETS)}, found {name[:40]!r}{nearest(name, DATASETS)}")
    return name


Pixels = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Length = Annotated[int, Field(ge=1, le=65536)]
Dataset = Annotated[str, AfterValidator(_known_dataset), Field(json_schema_extra={"enum": list(DATASETS)})]
Count = Annotated[int, Field(ge=0)]
Class = Annotated[int, Field(ge=0, le=999)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Column = Annotated[str, Field(min_length=1, max_length=256)]
Root = Annotated[str, Field(max_length=1024)]
MAX_WEIGHT = 1e6


def _class_weight(value: Any) -> Any:
    """Refuse in one line what pydantic would refuse in one for each kind that it might be."""
    if value is None or value == "balanced":
        return value
    if not isinstance(value, dict) or not value:
        raise ValueError(f"expected balanced, or a weight for each class such as {{scratch: 5}}, found {show(value)}")
    for name, weight in value.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= MAX_WEIGHT:
            raise ValueError(f"{name}: expected a number from 0 to {MAX_WEIGHT:g}, found {show(weight)}")
    return {str(name): float(weight) for name, weight in value.items()}


ClassWeight = Annotated[Literal["balanced"] | dict[str, float] | None, BeforeValidator(_class_weight)]


class Data(Strictly):
    """The images and how they are fed to the network."""

    name: Dataset = Field(
        description="Data set: 'digits', 'bars' and 'shapes' are drawn on the fly; 'digits8x8' comes with "
        "scikit-learn; 'folder' (of pictures), 'npz', 'idx' and 'csv' (of signals) are your own files in data.root; "
        "'arrays' are in memory, as lenumba.train(images=…, labels=…) is given them."
    )
    root: Root | Annotated[tuple[Root, ...], LIST, Field(min_length=1, max_length=64)] | None = Field(
        None,
        description="Folder with the data set's files (npz, csv: or the file itself); null: the download cache. Of "
        "your own files also a list of them, which are joined, the classes by their names.",
    )
    image_size: Annotated[tuple[Pixels, Pixels, Pixels], LIST] | None = Field(
        None, description="folder: [height, width, channels] that pictures are resized to; 1 channel is grey, 3 RGB."
    )
    batch_size: int = Field(64, ge=1, le=65536, description="Images per training step.")
    sampling: Literal["shuffle", "balanced"] = Field(
        "shuffle",
        description="'shuffle': every epoch takes each training image once. 'balanced': it draws as many with "
        "replacement, of all classes alike, so that small classes count as much as large ones.",
    )
    validation: Count | Fraction = Field(
        0.1,
        description="Training images set aside for validation: a number of images, or a fraction below 1 "
        "(with a decimal point).",
    )
    normalize: Literal["none", "mean_std", "raw"] = Field(
        "mean_std",
        description="'mean_std': subtract the training images' mean, divide by their deviation. 'none': pixels from 0 "
        "to 1. 'raw': bytes from 0 to 255 as they are. Floating-point numbers are as they are with either.",
    )
    samples: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Use only this many training images, drawn by train.seed, of each class its share; null: all."
    )
    classes: Annotated[tuple[Class, ...], LIST, Field(min_length=2, max_length=1000)] | None = Field(
        None,
        description="Use only these classes, by their numbers in the data set; the first listed becomes class 0, and "
        "so on; they keep their names. null: all.",
    )
    samples_per_class: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Use only this many training images of each class, the first ones; null: all."
    )
    target: Literal["class", "labels", "numbers", "input"] = Field(
        "class",
        description="What the network learns to give. 'class': one of several. 'labels': several at once, each yes "
        "or no (y [N, K] of 0 and 1). 'numbers': regression (y [N, K]). 'input': the input itself, an autoencoder, "
        "whose error tells anomalies; labels are not needed.",
    )
    target_columns: Annotated[tuple[Column, ...], LIST, Field(min_length=1, max_length=1000)] | None = Field(
        None, description="csv: the columns that hold the labels (0 or 1) or the numbers, by their names in the header."
    )
    dtype: Literal["uint8", "float32"] = Field(
        "uint8",
        description="What images consist of: bytes, or floating-point numbers, such as features of sound (npz, "
        "arrays). These are taken as they are, and normalised by 'mean_std' or not at all. Signals always are float32.",
    )
    decisions: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        None,
        description="File of decisions about labels, from the page of 'lenumba audit': images to relabel or to leave "
        "out, of training and test. The data set's own files stay as they are. null: every label as given.",
    )


class Network(Strictly):
    """The layers, from the image to the output."""

    input: Annotated[tuple[Length, ...], LIST, Field(min_length=1, max_length=3)] | None = Field(
        None,
        description="Input size: [height, width, channels] in pixels; null: the data set's. Of signals [length] or "
        "[length, channels]: then the data are signals, and a kernel, window, stride or padding of one number lies "
        "along them.",
    )
    convolution: Literal["auto", "direct"] = Field(
        "auto",
        description="'auto' computes convolutions at points (Winograd, Toom–Cook) where that is faster; 'direct' "
        "adds up every product of their definition.",
    )
    layers: Annotated[tuple[Layer, ...], LIST] = Field(min_length=1, max_length=64, description="The layers in order.")

    @field_validator("input")
    @classmethod
    def _image_fits(cls, shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if shape is not None and len(shape) == 3 and max(shape) > MAX_SIDE:
            raise ValueError(f"expected integers from 1 to {MAX_SIDE} for images, found {max(shape)}")
        return shape

    @property
    def signals(self) -> bool:
        """Whether the network is for signals."""
        return self.input is not None and len(self.input) < 3

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """(height, width, channels) of the input, if it is given; a signal is an image of one row."""
        if self.input is None:
            return None
        length, channels = (*self.input, 1)[:2]
        return (1, length, channels) if self.signals else self.input  # type: ignore[return-value]

    @property
    def signal_shape(self) -> tuple[int, int, int] | None:
        """(1, length, channels) of signals; None for images."""
        return self.image_shape if self.signals else None


class Loss(Strictly):
    """What training makes small."""

    name: LossName = Field(
        "auto",
        description="'auto' goes by the last activation: sparse_categorical_cross_entropy for softmax, "
        "binary_cross_entropy for sigmoid, else mean_squared_error.",
    )
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the target that is spread over all classes (cross-entropy only).",
    )
    class_weight: ClassWeight = Field(
        None,
        description="What the loss of a training image counts by its class: 'balanced' (N / (classes · images of the "
        "class)), or weights such as {scratch: 5}, 1 for classes that are not named; both are scaled so that the "
        "images weigh 1 on average. Validation and test losses are never weighted. null: all count alike.",
    )


class Optimizer(Hyperparameters):
    """How gradients change the weights."""


class Schedule(Strictly):
    """How the learning rate changes over the run; epochs count from the end of the warm-up."""

    name: Literal["constant", "step", "exponential", "piecewise", "cosine", "one_cycle"] = Field(
        "constant", description="Its shape."
    )
    warmup_epochs: float = Field(0.0, ge=0, description="Epochs of linear growth from zero to the peak rate.")
    step_epochs: int = Field(10, ge=1, description="step: epochs between two drops.")
    step_factor: float = Field(0.1, gt=0, le=1, description="step: factor of each drop.")
    gamma: float = Field(
        0.95, gt=0, le=1, description="exponential: factor from each epoch to the next; the same within an epoch."
    )
    boundaries: Annotated[tuple[Annotated[int, Field(ge=1)], ...], LIST] = Field(
        (), description="piecewise: after how many epochs each next value begins."
    )
    values: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], LIST] = Field(
        (), description="piecewise: fractions of the peak learning rate, one more than boundaries."
    )
    final_fraction: float = Field(
        0.0, ge=0, le=1, description="cosine, one_cycle: last learning rate as a fraction of the peak."
    )


class Train(Strictly):
    """The run."""

    epochs: int = Field(10, ge=1, le=100_000, description="Passes over the training images.")
    seed: int = Field(0, ge=0, le=2**63 - 1, description="Seed of the weights, the order and the dropout.")
    threads: Annotated[int, Field(ge=1, le=1024)] | None = Field(None, description="CPU threads; null: all cores.")
    patience: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="Stop early: after so many epochs without a better validation accuracy, or what best_by names; "
        "null: never.",
    )
    min_delta: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="patience: by how much (as a share of 1) the accuracy, or what best_by names, must rise (the loss: "
        "fall) to count as better.",
    )
    best_by: Literal[
        "accuracy", "loss", "balanced_accuracy", "macro_f1", "average_precision", "auc", "r2", "mae", "rmse"
    ] = Field(
        "accuracy",
        description="By which figure of the validation images the best epoch is chosen, whose weights are kept and "
        "tested; of equal ones the lower loss decides. balanced_accuracy (the mean recall) and macro_f1 count every "
        "class alike. Of other targets than a class, average_precision for labels, r2 for numbers and the loss for the "
        "input, unless given.",
    )
