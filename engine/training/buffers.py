"""Arrays as compiled programs want them."""

import numpy as np

from lenumba.kernels.constants import LANES


def address(array: np.ndarray) -> int:
    """Return where an array's data begin."""
    return array.__array_interface__["data"][0]  # half the time of array.ctypes.data, which counts for one image


def aligned(size: int, dtype: type = np.float32) -> np.ndarray:
    """Return zeros [size] that start at a 128-byte boundary (NumPy alone guarantees 16)."""
    itemsize = np.dtype(dtype).itemsize
    raw = np.zeros(size * itemsize + 128, np.uint8)
    start = -address(raw) % 128
    return raw[start : start + size * itemsize].view(dtype)


def planar(images: np.ndarray) -> np.ndarray:
    """Return a copy [N, C, H, W] of [N, H, W, C] with 16 more readable values behind it, as `pack` needs."""
    planes = images.transpose(0, 3, 1, 2)
    memory = np.zeros(planes.size + LANES, images.dtype)
    copy = memory[: planes.size].reshape(planes.shape)
    copy[...] = planes
    return copy
