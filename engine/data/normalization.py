"""How pixels become the numbers that a network sees."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Normalization:
    """Values become (value / levels − mean) / deviation: as one product and one sum, scale and shift.

    `mean` and `deviation` are float64 [C]; `levels` is 255 for the pixels of images, 1 for signals.
    """

    mean: np.ndarray
    deviation: np.ndarray
    levels: float = 255.0

    @property
    def scale(self) -> np.ndarray:
        """float64 [C]: what a value is multiplied by."""
        return 1 / (self.levels * self.deviation)

    @property
    def shift(self) -> np.ndarray:
        """float64 [C]: what is added then."""
        return -self.mean / self.deviation

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return images [N, C, H, W] as the network sees them, in float64."""
        return (images / self.levels - self.mean[:, None, None]) / self.deviation[:, None, None]


def unmeasured(normalize: str, channels: int, levels: float = 255.0) -> Normalization:
    """Return what needs no images: ``none``, pixels from 0 to 1, or ``raw``, as they are; signals always are."""
    return Normalization(np.zeros(channels), np.full(channels, {"none": 1.0, "raw": 1 / levels}[normalize]), levels)
