"""Trained networks for other programs: ONNX, safetensors with PyTorch's names, npz."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from lenumba.engine.common.errors import ConfigError, DataError, LenumbaError
from lenumba.engine.common.files import check_new_file, durable
from lenumba.engine.common.metrics import predicted_classes
from lenumba.engine.data.download import SOURCES, cache_folder
from lenumba.engine.models.model import Model
from lenumba.engine.network.layers.base import torch_name
from lenumba.engine.network.network import Network
from lenumba.engine.runs.tensor_file import checksum
from lenumba.engine.runs.trained import Trained, read_trained
from lenumba.engine.training.buffers import planar
from lenumba.engine.training.judging import read_logits

FORMATS = ("onnx", "safetensors", "npz")
INSTALL = "install it with: pip install 'lenumba[export]'"
CHECKED_IMAGES = 1000
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Agreement:
    """How far an exported network is from the compiled one: the largest differences over `images` images.

    `largest` is the largest logit, at least 1.
    """

    runtime: str
    source: str
    images: int
    logits: float
    probabilities: float
    classes: int
    largest: float = 1.0
    target: str = "class"

    def __str__(self) -> str:
        checked = f"checked in {self.runtime} on {self.images} {self.source}: "
        if self.target != "class":
            return f"{checked}largest difference of outputs {self.probabilities:.1e}"
        return (
            f"{checked}largest difference of logits {self.logits:.1e}, of probabilities {self.probabilities:.1e}; "
            f"{self.classes} classes differ"
        )


@dataclass(frozen=True)
class Exported:
    """An exported file, its format, and how its check against the compiled network went (ONNX alone has one)."""

    path: Path
    kind: str
    agreement: Agreement | None = None


def export_run(
    folder: Path,
    kind: str | None = None,
    out: Path | None = None,
    checkpoint: str = "best",
    *,
    force: bool = False,
    model: "Model | None" = None,
    overrides: Sequence[str] = (),
) -> Exported:
    """Export a run's network.

    Parameters
    ----------
    kind
        One of :data:`FORMATS`; None: what the ending of `out` says, else ``onnx``.
    out
        The new file; without it the run folder's name with the format's ending, in the working directory.
    force
        Whether an existing file may be replaced.
    model
        The same checkpoint, where it is loaded already.
    overrides
        Changes of the run's configuration, such as where its data are now.

    Raises
    ------
    ConfigError
        Where the file exists already or the format is unknown.
    DataError
        Where the run is damaged, a package is missing, or the exported network gives other numbers.
    """
    kind = export_kind(kind, out)
    out = Path(f"{folder.resolve().name}.{kind}") if out is None else out
    check_new_file(out, force)
    trained = model.trained if model else read_trained(folder, checkpoint, overrides)
    content: Callable[[Path], Any]
    agreement = None
    if kind == "onnx":
        data, reference_only = onnx_bytes(trained)
        agreement = check_agreement(model or Model(folder, checkpoint, overrides=overrides), data, reference_only)
        # Of the largest logit, as float32 has digits, not decimals; a NaN fails, too.
        if not max(agreement.logits / agreement.largest, agreement.probabilities) <= TOLERANCE:
            raise DataError(f"{out}: not written, as it would differ by more than {TOLERANCE:g}: {agreement}")
        content = lambda path: path.write_bytes(data)  # noqa: E731
    else:
        writer = {"safetensors": write_safetensors, "npz": write_npz}[kind]
        content = lambda path: writer(path, trained)  # noqa: E731
    with durable(out) as temporary:
        content(temporary)
    return Exported(out, kind, agreement)


def export_kind(kind: str | None, out: Path | None) -> str:
    """Return the format: the one that is asked for, else the file's ending, else ONNX; refuse a contradiction."""
    ending = "" if out is None else out.suffix.lstrip(".").lower()
    kind = kind or (ending if ending in FORMATS else "onnx")
    if kind not in FORMATS:
        raise ConfigError(f"format: expected {', '.join(FORMATS)}, found {kind!r}; choose one of these")
    if ending in FORMATS and ending != kind:
        raise ConfigError(
            f"--out {out}: expected the ending .{kind} for the format {kind}, found .{ending}; change one"
        )
    return kind


# ----------------------------------------------------------------------------------------- names and plain tensors


def torch_tensors(network: Network, parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the parameters by PyTorch's names, with the kernels of correlations, as PyTorch and ONNX have them."""
    return {
        torch_name(name): np.ascontiguousarray(array[..., ::-1, ::-1] if network.parameters[name].flipped else array)
        for name, array in parameters.items()
    }


def write_safetensors(path: Path, trained: Trained) -> None:
    """Write the parameters under PyTorch's names; a module with submodules of the layers' names loads them."""
    from safetensors.numpy import save

    tensors = torch_tensors(trained.network, trained.parameters)
    facts = {
        "mean": trained.normalization.mean.tolist(),
        "std": trained.normalization.deviation.tolist(),
        "class_names": list(trained.class_names),
        "version": version("lenumba"),
        **({"target": known} if (known := trained.judge.as_dict()) else {}),
    }
    text = json.dumps(facts, sort_keys=True)
    path.write_bytes(save(tensors, {"format": "pt", "lenumba": text, "sha256": checksum(tensors, text)}))


def write_npz(path: Path, trained: Trained) -> None:
    """Write the parameters under lenumba's names, the arrays mean, std and class_names, and the units of numbers."""
    mean, deviation = trained.normalization.mean, trained.normalization.deviation
    facts = {"mean": mean, "std": deviation, "class_names": np.array(trained.class_names)}
    if trained.network.target == "numbers":
        facts |= {f"target_{key}": np.array(value) for key, value in trained.judge.units.as_dict().items()}
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **trained.parameters, **facts)


# ---------------------------------------------------------------------------------------------------------- ONNX


def onnx_bytes(trained: Trained) -> tuple[bytes, bool]:
    """Return an ONNX file's content, and whether onnx itself must check it as there is no onnxruntime."""
    from importlib.util import find_spec

    if find_spec("onnx") is None:
        raise DataError(f"export to ONNX: expected the package onnx, found none; {INSTALL}")
    from lenumba.engine.models.onnx_graph import onnx_model

    tensors = torch_tensors(trained.network, trained.parameters)
    units = trained.judge.units if trained.network.target == "numbers" else None
    names, own = trained.class_names, version("lenumba")
    model = onnx_model(trained.network, tensors, trained.normalization, names, own, units)
    return model.SerializeToString(), find_spec("onnxruntime") is None


def open_session(data: bytes, reference_only: bool = False) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Return a function from images float32 [N, C, H, W] to logits and probabilities."""
    if reference_only:
        import onnx
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(onnx.load_from_string(data))
        return lambda images: list(evaluator.run(["logits", "probabilities"], {"images": images}))
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["logits", "probabilities"], {"images": images})


def check_agreement(model: Model, data: bytes, reference_only: bool) -> Agreement:
    """Run images through the compiled network and an ONNX file."""
    images, source = check_images(model)
    if reference_only:
        images = images[:100]  # it is slow
    planes = planar(images)
    logits, outputs = read_logits(model.executor, planes)
    found = open_session(data, reference_only)(planes.astype(np.float32))
    return Agreement(
        "onnx.reference, as onnxruntime is not installed" if reference_only else "onnxruntime",
        source,
        len(images),
        float(np.abs(found[0] - logits).max()),
        float(np.abs(found[1] - outputs).max()),
        int((predicted_classes(found[1]) != predicted_classes(outputs)).sum()),
        max(1.0, float(np.abs(logits).max())),
        model.network.target,
    )


def check_images(model: Model) -> tuple[np.ndarray, str]:
    """Return images [N, H, W, C] to compare on: of the run's test set where that is at hand, else random ones."""
    data = model.loaded.config.data
    downloads = data.name in SOURCES and data.root is None and "LENUMBA_DATA" not in os.environ
    if not (downloads and SOURCES[data.name].missing(cache_folder(data.name))):
        try:
            return model.test_data().test_images[:CHECKED_IMAGES], "test images"
        except LenumbaError:  # its files have moved, say: the weights are there all the same
            pass
    rng, shape = np.random.default_rng(0), (CHECKED_IMAGES, *model.image_shape)
    if model.loaded.config.floats:
        mean, deviation = model.trained.normalization.mean, model.trained.normalization.deviation
        random = rng.normal(mean, deviation, shape).astype(np.float32)
    else:
        random = rng.integers(0, 256, shape, np.uint8)
    return random, "random images, as the run's data are not at hand"
