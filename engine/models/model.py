"""A trained network, ready to answer."""

import os
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from lenumba.engine.common.errors import ConfigError, DataError, speaks_python
from lenumba.engine.common.host import available_threads
from lenumba.engine.common.measures import Measured
from lenumba.engine.common.metrics import predicted_classes
from lenumba.engine.data.dataset import Dataset
from lenumba.engine.data.in_memory import as_numbers
from lenumba.engine.models.evaluation import Evaluation
from lenumba.engine.models.given import as_images, as_labels
from lenumba.engine.models.target_evaluation import TargetEvaluation
from lenumba.engine.network.optimizers import make_optimizer
from lenumba.engine.runs.folders import find_run
from lenumba.engine.runs.records import read_run_json
from lenumba.engine.runs.trained import read_trained
from lenumba.engine.training.buffers import planar
from lenumba.engine.training.executor import SPIN_SECONDS, Executor
from lenumba.engine.training.judging import normal_classes

MAX_THREADS, MAX_SPIN_SECONDS = 1024, 60


class Model:
    """The network of a run with its best parameters.

    Parameters
    ----------
    folder
        The run folder.
    checkpoint
        ``"best"`` (by validation) or ``"last"``.
    threads
        Worker threads; None: all cores.
    spin_seconds
        How long a thread that has helped with an answer waits for the next one, awake, before it sleeps. Answers that
        come one after another take about half as long by it, from two blocks of 16 images on, or for a single image of
        a program for these (`batch_size`); 0 switches it off.

    batch_size
        How many images are asked for at a time, of a program that only answers and is compiled for it. Up to 8 are
        taken one by one, if no layer needs more, and any number where 16 channels at a time are as fast as 16 images.
        Its outputs may differ from the other's in their last digits. None: the program that the run was trained with.

    Raises
    ------
    DataError, ConfigError
        Where the folder holds no intact run.
    """

    def __init__(
        self,
        folder: Path,
        checkpoint: str = "best",
        threads: int | None = None,
        overrides: Sequence[str] = (),
        spin_seconds: float = SPIN_SECONDS,
        batch_size: int | None = None,
    ) -> None:
        if threads is not None and not 1 <= threads <= MAX_THREADS:
            raise ConfigError(f"threads: expected 1 to {MAX_THREADS}, or None for all cores, found {threads}")
        if batch_size is not None and batch_size < 1:
            raise ConfigError(f"batch_size: expected at least 1, or None, found {batch_size}")
        if not 0 <= spin_seconds <= MAX_SPIN_SECONDS:
            raise ConfigError(f"spin_seconds: expected 0 to {MAX_SPIN_SECONDS}, found {spin_seconds}")
        self.folder, self.checkpoint = folder, checkpoint
        self.trained = trained = read_trained(
            folder, checkpoint, overrides, batch_size
        )  # a misfit shows before it is compiled
        self.loaded, self.network = trained.loaded, trained.network
        self.class_names, self.image_shape = trained.class_names, trained.image_shape
        config = self.loaded.config
        optimizer = make_optimizer(config.optimizer)
        self.executor = Executor(
            self.network,
            self.network.compile(optimizer),
            optimizer,
            normalization=trained.normalization,
            threads=threads or available_threads(),
            smoothing=config.loss.label_smoothing,
            spin_seconds=spin_seconds,
        )
        self.executor.theta[:] = trained.theta
        if self.network.answers:
            self.executor.weights.freeze()

    @property
    def class_weights(self) -> dict[str, float] | None:
        """What the loss of a training image counted by its class, where not all counted alike."""
        return read_run_json(self.folder).get("class_weights")

    @property
    def shows_digits(self) -> bool:
        """Whether pictures of digits are prepared as MNIST's were, since its training images were, too."""
        return self.trained.shows_digits

    @speaks_python
    def read_picture(self, path: str | os.PathLike[str]) -> np.ndarray:
        """Return a picture as an image uint8 [H, W, C], prepared as the training images were; or raise DataError."""
        return self.trained.read_picture(path)

    @speaks_python
    def test_data(self) -> Dataset:
        """Load the images to judge: see :meth:`lenumba.engine.runs.trained.Trained.test_data`."""
        return self.trained.test_data()

    @speaks_python
    def predict_proba(self, images: np.ndarray) -> np.ndarray:
        """Return the network's outputs: float32 [N, outputs], probabilities after softmax.

        Parameters
        ----------
        images
            [N, H, W, C] or [N, C, H, W], or [N, H, W] where there is one channel, or one image without N: whole numbers
            from 0 to 255, or floating-point numbers from 0 to 1. Signals: [N, L] or [N, L, C] of any numbers; so are
            images where `data.dtype` is float32.

        Raises
        ------
        DataError
            Where the images have another shape or type.
        """
        images = as_images(self.trained, images)
        order = np.arange(len(images))
        return self.executor.evaluate(planar(images), self.network.no_labels(len(images)), order)[1]

    @speaks_python
    def predict(self, images: np.ndarray) -> np.ndarray:
        """Return int64 [N], the class of each image (see :meth:`predict_proba` for the images' shape).

        Of several labels, int64 [N, K] of 0 and 1; numbers, float64 [N, K], in their own units; where the target is the
        input, float64 [N]: each sample's mean squared error, as its anomaly score.
        """
        if self.network.target == "class":
            return predicted_classes(self.predict_proba(images))
        outputs = self.answers(images)
        return (outputs >= 0.5).astype(np.int64) if self.network.target == "labels" else outputs

    @speaks_python
    def answers(self, images: np.ndarray) -> np.ndarray:
        """Return the outputs in the targets' units, [N, K]; where the target is the input, each sample's error [N]."""
        images = as_images(self.trained, images)
        order, judge = np.arange(len(images)), self.trained.judge
        return judge.answers(self.executor, planar(images), judge.blank(len(images)), order)[1]

    def evaluate_targets(
        self,
        images: np.ndarray,
        truth: np.ndarray,
        class_names: tuple[str, ...] | None = None,
        normal: tuple[str, ...] = (),
    ) -> TargetEvaluation:
        """Evaluate a network whose target is no class; `truth` is as a :class:`Dataset` has it.

        `normal` names the classes that are so, for a network that does not know what it was trained on.
        """
        images, judge, names = as_images(self.trained, images), self.trained.judge, class_names or self.class_names
        judge = replace(judge, normal=judge.normal or normal)
        loss, outputs = judge.answers(self.executor, planar(images), truth, np.arange(len(images)))
        measured = judge.measure(loss, outputs, truth, names)
        assert isinstance(measured, Measured)
        strange = judge.anomalous(truth, names)
        return TargetEvaluation(judge.target, measured, outputs, truth, names, strange)

    @speaks_python
    def evaluate(self, images: np.ndarray | None = None, labels: np.ndarray | None = None) -> Any:
        """Evaluate on images (see :meth:`predict_proba`) with labels [N], whole numbers or names of classes.

        Without them, on the run's test set. Where the target is a class the result is an :class:`Evaluation`; else it
        is a :class:`TargetEvaluation`, and labels are 0 and 1 or numbers [N, K], or classes [N], or absent where the
        target is the input.
        """
        if images is None and labels is None:
            return self.evaluate_data(self.test_data())
        if (target := self.network.target) != "class" and images is not None:
            images = as_images(self.trained, images)
            numbers = self._truth(labels, len(images))
            return self.evaluate_targets(
                images, numbers, tuple(map(str, range(1 + numbers.max()))) if target == "input" else None
            )
        if images is None or labels is None:
            raise DataError("evaluate: expected both images and labels, or neither, found one of them")
        images = as_images(self.trained, images)
        labels = self._truth(labels, len(images))
        loss, outputs = self.executor.evaluate(planar(images), labels, np.arange(len(images)))
        return Evaluation(loss, labels, outputs, self.class_names)

    def _truth(self, labels: Any, count: int) -> np.ndarray:
        """Return what `count` images are compared with, as a :class:`Dataset` has it; or raise DataError."""
        target, expected = self.network.target, list(self.trained.judge.blank(count).shape)
        if target == "class":
            return as_labels(self.class_names, labels, count)
        if labels is None and target != "input":
            raise DataError(f"labels: expected {target} {expected}, found None; give those that belong to the images")
        numbers, _ = as_numbers("labels", labels, self.class_names, target, count)
        if list(numbers.shape) != expected:
            raise DataError(f"labels: expected {expected}, found {list(numbers.shape)}; use those that belong")
        return numbers

    @speaks_python
    def activations(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return what every layer puts out: float64 [N, C, H, W] by the layer's name, and ``outputs`` [N, outputs].

        The plain loops compute it: for some images, not for thousands. Images are as for :meth:`predict_proba`.
        """
        return self.activations_of(as_images(self.trained, images))

    def activations_of(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return the activations for images [N, H, W, C] as a data set has them."""
        from lenumba.engine.explain import plain  # many modules, which nothing else here needs
        from lenumba.engine.explain.explain import INTERPRETED
        from lenumba.kernels.reference.twin import interpreted

        network, executor = self.network, self.executor
        scale, shift = (values.astype(np.float64) for values in (executor.scale, executor.shift))
        x = (images * scale + shift).transpose(0, 3, 1, 2)
        with interpreted(len(x) * network.multiply_adds <= INTERPRETED):
            maps = plain.forward(network, self.trained.parameters, x)
            truth = x.reshape(len(x), -1) if network.target == "input" else network.no_labels(len(x))
            outputs = plain.judge(network, maps[-1], truth).outputs
        return {unit.name: y for unit, y in zip(network.units, maps, strict=True)} | {"outputs": outputs}

    @speaks_python
    def gradients(self, images: np.ndarray, labels: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Return the gradient of the mean loss of a batch, as a training step's kernels compute it.

        Parameters
        ----------
        images, labels
            As for :meth:`evaluate`; all of them are one batch. Labels are not needed where the target is the input.

        Returns
        -------
        dict
            float32 arrays by the parameters' names, such as ``conv1.kernel``: label smoothing included, weight decay
            and clipping not; 0 for frozen layers. What distorts training images or drops units does so here, too.

        Raises
        ------
        DataError, ConfigError
            Where images or labels do not fit.
        """
        if self.network.answers:
            raise ConfigError(
                "gradients: expected a program that trains, found one that only answers; load without batch_size"
            )
        images = as_images(self.trained, images)
        own, truth = self.executor, self._truth(labels, len(images))
        executor = Executor(
            self.network, own.program, own.optimizer, normalization=self.trained.normalization, threads=1,
            smoothing=self.loaded.config.loss.label_smoothing,
        )  # fmt: skip
        executor.theta[:], executor.decay[:] = own.theta, 0
        order = np.arange(len(images))
        executor.train(
            planar(images), self.trained.judge.learned(truth), order, len(order), own.optimizer.gradient_hyper()
        )
        return self.network.views(executor.state[: self.network.size].copy())

    def _repr_html_(self) -> str:
        return f"<p><b>{escape(str(self.folder))}</b>, {self.checkpoint} epoch</p>{self.network._repr_html_()}"

    def evaluate_data(self, dataset: Dataset) -> Any:
        """Evaluate on the test images of a data set of :meth:`test_data`."""
        found = self.evaluate_part(dataset, dataset.test_images, dataset.test_truth)
        return replace(found, files=dataset.files and dataset.files[1], notes=dataset.notes)

    def evaluate_part(self, dataset: Dataset, images: np.ndarray, truth: np.ndarray) -> Any:
        """Evaluate on some of a data set's images, with the truth as it has it."""
        if self.network.target == "class":
            return self.evaluate(images, truth)
        return self.evaluate_targets(images, truth, dataset.class_names, normal_classes(dataset))


def load(
    run: str | Path,
    checkpoint: str = "best",
    threads: int | None = None,
    overrides: Sequence[str] = (),
    spin_seconds: float = SPIN_SECONDS,
    batch_size: int | None = None,
) -> Model:
    """Load a trained network.

    Parameters
    ----------
    run
        A run folder, the name of one in ``runs``, or ``"latest"``.
    checkpoint
        ``"best"`` (by validation) or ``"last"``.
    overrides
        Changes of the run's configuration, such as where its data are now (``data.root=…``).
    threads, spin_seconds, batch_size
        As for :class:`Model`.
    """
    return Model(find_run(str(run)), checkpoint, threads, overrides, spin_seconds, batch_size)
