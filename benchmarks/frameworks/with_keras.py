"""Keras on TensorFlow: `fit` on arrays, which compiles one step; inference through one compiled function."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import tensorflow as tf

from .job import BETAS, EPSILON, MOMENTUM, Job, flat_to_nhwc, map_shapes, starts


def make_model(job: Job) -> keras.Model:
    """Return the network up to the logits, in Keras's own layout (NHWC)."""
    model = keras.Sequential([keras.Input(job.shape)])
    for name, layer in job.named_layers():
        function = "relu" if layer.get("activation") == "relu" else None
        if layer["type"] == "conv":
            if layer["padding"]:
                model.add(keras.layers.ZeroPadding2D(layer["padding"]))
            model.add(keras.layers.Conv2D(layer["channels"], layer["kernel_size"], activation=function, name=name))
        elif layer["type"] == "dense":
            model.add(keras.layers.Dense(layer["units"], activation=function, name=name))
        elif layer["type"] == "flatten":
            model.add(keras.layers.Flatten())
        else:
            average = layer["type"] == "average_pool"
            kind = keras.layers.AveragePooling2D if average else keras.layers.MaxPooling2D
            model.add(kind(layer["size"]))
    return model


class Peer:
    """Slices, steps and updates inside `fit`; no callbacks, no metrics, no progress bar."""

    def __init__(self, job: Job) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(job.threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        self.job = job
        self.images, self.labels = job.take_float_images((0, 2, 3, 1)), job.labels
        self.model = make_model(job)
        self.model.compile(self.optimizer(), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        self.answer = tf.function(lambda x: tf.nn.softmax(self.model(x, training=False)), reduce_retracing=True)

    def optimizer(self) -> keras.optimizers.Optimizer:
        """Return the optimiser: Keras's Adam is AdamW without decay."""
        if self.job.optimizer == "sgd":
            return keras.optimizers.SGD(self.job.rate, momentum=MOMENTUM)
        return keras.optimizers.Adam(self.job.rate, *BETAS, EPSILON)

    def reset(self) -> None:
        """Go back to the initial weights and an empty optimiser state."""
        maps: tuple | None = None
        for (name, layer), shape in zip(self.job.named_layers(), map_shapes(self.job), strict=True):
            kernel, bias = self.job.weights.get(f"{name}.kernel"), self.job.weights.get(f"{name}.bias")
            if layer["type"] == "conv":
                self.model.get_layer(name).set_weights([kernel.transpose(2, 3, 1, 0), bias])
            elif layer["type"] == "flatten":
                maps = shape
            elif layer["type"] == "dense":
                self.model.get_layer(name).set_weights([(flat_to_nhwc(kernel, maps) if maps else kernel).T, bias])
                maps = None
        for variable in self.model.optimizer.variables:
            if variable.name != "learning_rate":
                variable.assign(np.zeros(variable.shape))

    def train(self, steps: int, batch: int) -> None:
        """Fit on as many whole passes as the steps need."""
        per_pass = len(self.labels) // batch
        while steps > 0:
            count = min(steps, per_pass) * batch
            self.model.fit(self.images[:count], self.labels[:count], batch, shuffle=False, verbose=0)
            steps -= per_pass

    def infer(self, steps: int, batch: int) -> None:
        """Answer one request of `batch` images after the other, with probabilities as NumPy arrays."""
        for start in starts(steps, batch, len(self.labels)):
            self.answer(tf.convert_to_tensor(self.images[start : start + batch])).numpy()

    def losses(self, steps: int, batch: int) -> list[float]:
        """Return each step's mean loss."""
        return [
            float(self.model.train_on_batch(self.images[start : start + batch], self.labels[start : start + batch]))
            for start in starts(steps, batch, len(self.labels))
        ]
