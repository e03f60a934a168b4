"""Pictures from outside as network input: decoding them, and bringing digits into MNIST's form."""

import io
import os
import stat
import struct
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from lenumba.engine.common.errors import DataError, unreadable

if TYPE_CHECKING:
    from PIL.Image import Image

#: Formats by the endings of their files.
FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
FORMAT_NAMES = "PNG, JPEG, BMP, WebP or TIFF"
_MAX_FILE = 64 << 20  # bytes of a PNG file
_MAX_MEMORY = 62_000_000  # bytes for decoding and converting a picture: 12 million pixels in colour, 62 in grey
_MAX_SIDE = 16_384  # pixels
_ORIENTATION = 0x0112  # EXIF's tag
_STRIP = 1 << 16  # pixels that are converted at once
_PNG = b"\x89PNG\r\n\x1a\n"
_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf")
_NOTES = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")  # texts that tell the orientation, too
_WORKING_SIZE = 1024  # more pixels per side add nothing to a digit of 20
_MIN_CONTRAST = 24  # of 255, between ink and paper
_EDGE = 0.25  # of the strongest ink: fainter pixels do not widen the bounding box
_SPECK = 0.0003  # of all ink: what lies further out and is no more than this is dirt


def load_image(
    path: str | os.PathLike[str], shape: tuple[int, int, int], sizes: list[tuple[int, int]] | None = None
) -> np.ndarray:
    """Load a picture and resize it (bilinear, antialiased) to the shape of a network's input.

    The EXIF orientation is applied, transparency is laid on white, 16 bits become 8. One channel is the
    luminance. The proportions are not kept.

    Parameters
    ----------
    path : path-like
        A PNG, JPEG, BMP, WebP or TIFF file of at most 12 million pixels in colour, 62 in grey. Larger JPEG files are
        decoded at half their size or less.
    shape : tuple of int
        (H, W, C), with C = 1 or 3.
    sizes : list of tuple of int, optional
        Gets the file's own width and height in pixels.

    Returns
    -------
    numpy.ndarray
        uint8 [H, W, C].

    Raises
    ------
    DataError
        If the file is missing, damaged, too large, animated or of another format, or C is neither 1 nor 3.
    """
    from PIL import Image

    height, width, channels = shape
    if channels not in (1, 3):
        raise DataError(
            f"{path}: pictures have 1 channel (grey) or 3 (RGB), the network's images have {channels}; "
            "give it arrays, in Python"
        )
    image = _decode(path, "L" if channels == 1 else "RGB", sizes)
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
        A PNG, JPEG, BMP, WebP or TIFF file of at most 12 million pixels in colour, 62 in grey. Larger JPEG files are
        decoded at half their size or less.
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


def _decode(path: str | os.PathLike[str], mode: str, sizes: list[tuple[int, int]] | None = None) -> "Image":
    """Open a picture, refuse what is not one still picture of a sane size, and convert it to "L" or "RGB"."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise DataError(f"{path}: expected a {FORMAT_NAMES} file, found a folder or a device; give a file")
        with warnings.catch_warnings(), open(path, "rb") as file:
            warnings.simplefilter("ignore")  # Pillow's own limit on pixels only warns; the ones below are lower
            png = file.read(len(_PNG)) == _PNG
            file.seek(0)
            formats = sorted(set(FORMATS.values()))
            image: Image.Image = Image.open(_checked_png(file, path) if png else file, formats=formats)
            _check_kind(image, path)
            if sizes is not None:
                sizes.append(image.size)
            image = _convert(image, mode, _fit_into_memory(image, mode, path))
            ImageOps.exif_transpose(image, in_place=True)
            return image
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: expected a {FORMAT_NAMES} file, found another format; convert it") from error
    except Exception as error:  # damaged files make decoders raise nearly anything
        raise DataError(f"{path}: expected a readable picture, found: {unreadable(error)}") from error


def _checked_png(file: BinaryIO, path: str | os.PathLike[str]) -> BinaryIO:
    """Return a PNG file's picture without what may go with it, after verifying every chunk's length and checksum.

    Pillow verifies neither the checksums of the pixels' chunks nor anything behind them, and it unpacks texts and
    colour profiles that nobody asked for.
    """
    if os.fstat(file.fileno()).st_size > _MAX_FILE:
        raise DataError(f"{path}: expected a file of at most {_MAX_FILE >> 20} MiB, found more; make it smaller")
    kept, kind, notes = io.BytesIO(), b"", set(_NOTES)
    kept.write(file.read(len(_PNG)))
    while kind != b"IEND":
        start = file.read(8)
        if len(start) < 8:
            raise DataError(f"{path}: expected a whole PNG file, found a truncated one; get the file again")
        length, kind = struct.unpack(">I4s", start)
        data, checksum = file.read(length), file.read(4)
        name = ascii(kind.decode("latin1"))
        if len(data) < length or checksum != zlib.crc32(data, zlib.crc32(kind)).to_bytes(4, "big"):
            raise DataError(f"{path}: expected an intact PNG file, found damage in a chunk {name}; get the file again")
        if kind == b"acTL" and int.from_bytes(data[:4], "big") > 1:
            raise DataError(f"{path}: expected a still picture, found an animated PNG; save one frame")
        note = next((note for note in notes if data.startswith(note)), None)
        if kind[:1].isupper() and kind not in _CHUNKS:
            raise DataError(f"{path}: expected a standard PNG file, found an unknown chunk {name}; save it again")
        if kind in _CHUNKS or note:
            kept.write(start + data + checksum)
            notes.discard(note)
    kept.seek(0)
    return kept


def _check_kind(image: "Image", path: str | os.PathLike[str]) -> None:
    """Refuse what is more than one picture, or has no grey levels from 0 to 255 or 65535."""
    # A phone's JPEG may have more pictures behind the first, in smaller sizes: Pillow calls that MPO.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise DataError(f"{path}: expected a still picture, found {image.n_frames} of them; save one")  # type: ignore[attr-defined]
    if image.mode == "F":
        raise DataError(f"{path}: expected pixels of 8 or 16 bits, found floating-point numbers; convert it")


def _fit_into_memory(image: "Image", mode: str, path: str | os.PathLike[str]) -> int:
    """Return by how much to shrink a picture while it is converted, so that memory suffices, or refuse it.

    A large JPEG file is decoded at a fraction of its size already.
    """
    width, height = image.size
    jpeg = image.format in ("JPEG", "MPO")
    scales = [(1, 1), (2, 1), (4, 1), (8, 1)] if jpeg else [(1, 1), (1, 2)]
    fitting = [found for found in scales if _memory(image, mode, *found) <= _MAX_MEMORY]
    if not fitting or max(width, height) > _MAX_SIDE:
        raise DataError(
            f"{path}: expected at most {_MAX_SIDE} pixels a side and 12 million in colour, found "
            f"{width}×{height} pixels of {_pixel_bytes(image.mode)} bytes; make the picture smaller"
        )
    scale, shrink = fitting[0]
    if scale > 1:
        image.draft(None, (width // scale, height // scale))
    return shrink


def _memory(image: "Image", mode: str, scale: int, shrink: int) -> int:
    """Return the bytes to decode a picture, at 1/scale of its size, and to convert it, at 1/shrink of that."""
    pixels, own = image.width * image.height // scale**2, _pixel_bytes(image.mode)
    converted = _pixel_bytes(mode) * pixels // shrink**2
    needed = own * pixels + (0 if _is_plain(image, mode) and shrink == 1 else converted)
    if "exif" in image.info and image.getexif().get(_ORIENTATION, 1) != 1:
        needed = max(needed, 2 * converted)
    # A progressive JPEG's three channels of 16-bit coefficients are in memory as a whole.
    return needed + (6 * image.width * image.height if image.info.get("progressive") else 0)


def _pixel_bytes(mode: str) -> int:
    """Return what a pixel takes in Pillow's memory."""
    return 1 if mode in ("1", "L", "P") else 2 if mode.startswith("I;16") else 4


def _is_plain(image: "Image", mode: str) -> bool:
    """Return whether a picture needs no conversion."""
    return image.mode == mode and not image.has_transparency_data


def _convert(image: "Image", mode: str, shrink: int) -> "Image":
    """Return a picture in 8 bits without transparency, converted strip by strip, so that there are no more copies."""
    from PIL import Image

    image.load()
    if _is_plain(image, mode) and shrink == 1:
        return image
    result = Image.new(mode, (-(-image.width // shrink), -(-image.height // shrink)))
    result.info = {key: value for key, value in image.info.items() if key != "transparency"}  # the orientation, too
    rows = max(1, _STRIP // image.width // shrink) * shrink
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        strip = _flatten(image.crop(box)).convert(mode)
        result.paste(strip if shrink == 1 else strip.reduce(shrink), (0, top // shrink))
    return result


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
