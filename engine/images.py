"""Pictures from outside as network input: decoding PNG and JPEG, and bringing digits into MNIST's form."""

import os
import stat
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lenumba.engine.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

_MAX_PIXELS = 50_000_000
_WORKING_SIZE = 1024  # more pixels per side add nothing to a digit of 20
_MIN_CONTRAST = 24  # of 255, between ink and paper
_EDGE = 0.25  # of the strongest ink: fainter pixels do not widen the bounding box
_SPECK = 0.0003  # of all ink: what lies further out and is no more than this is dirt


def shows_digits(class_names: tuple[str, ...], name: str) -> bool:
    """Return whether classes are digits, some or all of them, so that :func:`prepare_digit` is for their pictures."""
    return class_names == tuple("0123456789") or name in ("digits", "mnist")


def load_image(path: str | os.PathLike[str], shape: tuple[int, int, int]) -> np.ndarray:
    """Load a picture and resize it (bilinear, antialiased) to the shape of a network's input.

    The EXIF orientation is applied, transparency is laid on white, 16 bits become 8. One channel is the
    luminance. The proportions are not kept.

    Parameters
    ----------
    path : path-like
        A PNG or JPEG file of at most 50 million pixels.
    shape : tuple of int
        (H, W, C), with C = 1 or 3.

    Returns
    -------
    numpy.ndarray
        uint8 [H, W, C].

    Raises
    ------
    DataError
        If the file is missing, damaged, too large, animated or of another format.
    """
    from PIL import Image

    height, width, channels = shape
    image = _decode(path, "L" if channels == 1 else "RGB")
    return np.array(image.resize((width, height), Image.Resampling.BILINEAR)).reshape(shape)


def prepare_digit(path: str | os.PathLike[str], shape: tuple[int, int, int] = (28, 28, 1)) -> np.ndarray:
    """Load a picture of one handwritten digit and bring it into the form of MNIST's.

    The steps follow the description of the data set by Y. LeCun, L. Bottou, Y. Bengio and P. Haffner,
    "Gradient-based learning applied to document recognition", Proceedings of the IEEE 86(11), 1998,
    section III-A: size-normalised to fit a 20×20 box with the proportions kept, the grey levels coming from
    antialiasing, then centred in a 28×28 field by the centre of mass. Before that, as photographs and scans
    need it: the paper's level (the median of the picture's border) is subtracted, dark ink on light paper is
    inverted, and noise is left out of the ink's bounding box. Last, the brightest pixel becomes 255.

    Parameters
    ----------
    path : path-like
        A PNG or JPEG file of at most 50 million pixels.
    shape : tuple of int
        (H, W, C). The box is 20/28 of H and W; all C channels are the same.

    Returns
    -------
    numpy.ndarray
        uint8 [H, W, C], light ink on black.

    Raises
    ------
    DataError
        As `load_image`, and if there is no ink on the paper.
    """
    height, width, channels = shape
    image = _decode(path, "L")
    image = image.reduce(max(1, max(image.size) // _WORKING_SIZE))
    digit = _fit(_ink(np.asarray(image, np.float32), path), round(height * 20 / 28), round(width * 20 / 28))
    field = np.zeros((height, width), np.float32)
    top, left = (_centred(digit.sum(1 - axis), length) for axis, length in enumerate((height, width)))
    field[top : top + digit.shape[0], left : left + digit.shape[1]] = digit * (255 / digit.max())
    return np.repeat(np.rint(field).astype(np.uint8)[..., np.newaxis], channels, axis=2)


def _decode(path: str | os.PathLike[str], mode: str) -> "Image":
    """Open a picture, refuse what is not one still picture of a sane size, and convert it to "L" or "RGB"."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise DataError(f"{path}: expected a PNG or JPEG file, found a folder or a device; give a file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own limit on pixels only warns; the one below is lower
            with Image.open(path, formats=["PNG", "JPEG"]) as image:
                if image.width * image.height > _MAX_PIXELS:
                    raise DataError(
                        f"{path}: expected at most {_MAX_PIXELS} pixels, found {image.width}×{image.height}; "
                        "make the picture smaller"
                    )
                # Not for JPEG: cameras store previews as further frames, and the first is the photograph.
                if image.format == "PNG" and getattr(image, "is_animated", False):
                    raise DataError(f"{path}: expected a still picture, found an animated PNG; save one frame")
                return _flatten(ImageOps.exif_transpose(image)).convert(mode)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: expected a PNG or JPEG file, found another format; convert it") from error
    except Exception as error:  # damaged files make decoders raise nearly anything
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise DataError(f"{path}: expected a readable picture, found: {reason}; save it again") from error


def _flatten(image: "Image") -> "Image":
    """Reduce to 8 bits and no transparency."""
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits of grey; 16 bits of colour Pillow has reduced already
        return Image.fromarray(np.rint(np.asarray(image, np.float32) / 257).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image


def _ink(grey: np.ndarray, path: str | os.PathLike[str]) -> np.ndarray:
    """Return how much ink each pixel has, float32, cropped to the digit's bounding box."""
    border = np.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])
    paper = np.median(border)
    contrast = grey - paper
    # Squared, a few strokes of ink outweigh much paper that is slightly lighter or darker than its border.
    if np.square(contrast.clip(max=0)).sum() > np.square(contrast.clip(min=0)).sum():
        contrast = -contrast
    # Four standard deviations, estimated by the median absolute deviation: ink at the border hardly counts.
    noise = 4 * 1.4826 * np.median(np.abs(border - paper))
    strongest = contrast.max()
    if strongest < max(_MIN_CONTRAST, 1.5 * noise):
        raise DataError(
            f"{path}: expected a digit that stands out from its background, found no ink; use a picture with "
            "more contrast"
        )
    ink = np.where(contrast > noise, contrast, 0)
    sure = np.where(contrast > _EDGE * strongest, ink, 0)
    rows, columns = (_extent(sure.sum(axis)) for axis in (1, 0))
    return ink[rows, columns]


def _extent(profile: np.ndarray) -> slice:
    """Return where the ink begins and ends, leaving out specks on either side."""
    mass = np.cumsum(profile, dtype=np.float64)
    first, last = np.searchsorted(mass, [_SPECK * mass[-1], (1 - _SPECK) * mass[-1]], side="right")
    return slice(int(first), min(int(last), len(profile) - 1) + 1)


def _fit(ink: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize to touch the box of `height` × `width` from within, keeping the proportions."""
    from PIL import Image

    scale = min(height / ink.shape[0], width / ink.shape[1])
    rows, columns = (max(1, round(length * scale)) for length in ink.shape)
    # A box filter counts the ink per pixel, which is what shrinking means; enlarging, it would make blocks.
    resample = Image.Resampling.BOX if scale <= 1 else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(ink).resize((columns, rows), resample))


def _centred(profile: np.ndarray, length: int) -> int:
    """Return where to put `profile` in `length` pixels, for its centre of mass to come to the middle."""
    centre = (profile * np.arange(len(profile))).sum() / profile.sum()
    # In MNIST the centre of mass lies within half a pixel of index 14 of 28, not of 13.5.
    return int(np.clip(round(length / 2 - centre), 0, length - len(profile)))
