"""Whether probabilities mean what they say: reliability, expected calibration error, temperature.

After C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017.
"""

from dataclasses import dataclass

import numpy as np

BINS = 15
LEAST = np.finfo(np.float32).tiny  # where float32 underflows; its logarithm is the least that a probability can tell
COLDEST, HOTTEST = 0.01, 100.0


@dataclass(frozen=True, eq=False)
class Reliability:
    """How often answers are right, by their probability, in bins of equal width from 0 to 1.

    Attributes
    ----------
    confidence, accuracy
        float64 [B], of the bins that have images: the mean probability of the answers, and the share that is right.
    counts
        int64 [B]: the images of these bins.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, probabilities: np.ndarray, labels: np.ndarray) -> "Reliability":
        """Return the reliability of probabilities float [N, classes] for labels int64 [N]."""
        sure, right = probabilities.max(1).astype(np.float64), probabilities.argmax(1) == labels
        bins = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], sure)
        counts = np.bincount(bins, minlength=BINS)
        there = counts > 0
        confidence, accuracy = (np.bincount(bins, values, BINS)[there] / counts[there] for values in (sure, right))
        return cls(confidence, accuracy, counts[there])

    @property
    def error(self) -> float:
        """The expected calibration error: the mean distance of confidence and accuracy, by images."""
        return float((np.abs(self.confidence - self.accuracy) * self.counts).sum() / self.counts.sum())


def is_distribution(probabilities: np.ndarray) -> bool:
    """Return whether outputs float [N, classes] are probabilities of which each image has one whole."""
    return bool(probabilities.min() >= 0 and np.allclose(probabilities.sum(1), 1, atol=1e-3))


def log_likelihood(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean negative logarithm (NLL) of the labels' probabilities float [N, classes]."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], LEAST)).mean())


def at_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return softmax(log p / T) of probabilities float [N, classes], in float64: their logits divided by T."""
    logits = np.log(np.maximum(probabilities.astype(np.float64), LEAST)) / temperature
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature with the lowest NLL, from 0.01 to 100: above 1 for a network that is too sure.

    The NLL is convex in 1/T, where its derivative is the mean of Σ p_k z_k − z_label; bisection finds its zero.
    """
    logits = np.log(np.maximum(probabilities.astype(np.float64), LEAST))
    own = logits[np.arange(len(labels)), labels]
    low, high = np.log(COLDEST), np.log(HOTTEST)
    for _ in range(50):
        middle = (low + high) / 2
        expected = (at_temperature(probabilities, np.exp(middle)) * logits).sum(1)
        if (expected - own).mean() > 0:  # the NLL still falls with T
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))
