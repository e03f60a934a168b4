"""How pixels become the numbers that a network sees."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Normalization:
    """Pixels become (value / 255 − mean) / deviation, float64 [C] each: as one product and one sum, scale and shift."""

    mean: np.ndarray
    deviation: np.ndarray

    @property
    def scale(self) -> np.ndarray:
        """float64 [C]: what a pixel is multiplied by."""
        return 1 / (255 * self.deviation)

    @property
    def shift(self) -> np.ndarray:
        """float64 [C]: what is added then."""
        return -self.mean / self.deviation

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return images [N, C, H, W] as the network sees them, in float64."""
        return (images / 255 - self.mean[:, None, None]) / self.deviation[:, None, None]


def unmeasured(normalize: str, channels: int) -> Normalization:
    """Return what needs no images: ``none``, values from 0 to 1, or ``raw``, bytes as they are."""
    return Normalization(np.zeros(channels), np.full(channels, {"none": 1.0, "raw": 1 / 255}[normalize]))
