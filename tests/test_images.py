"""Pictures as network input: the same digit must come out however it was photographed or saved."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lenumba.engine.common.errors import DataError
from lenumba.engine.data.dataset import load_dataset
from lenumba.engine.data.images import load_image, prepare_digit


def draw_strokes(seed: int) -> Image.Image:
    """Draw a light zigzag on black."""
    rng = np.random.default_rng(seed)
    image = Image.new("L", (600, 600))
    points = [(int(x), int(y)) for x, y in zip(rng.integers(200, 400, 5), np.linspace(120, 480, 5), strict=True)]
    ImageDraw.Draw(image).line(points, fill=255, width=45, joint="curve")
    return image


@pytest.fixture(params=range(4))
def digit(request, tmp_path):
    """A drawing in MNIST's form."""
    path = tmp_path / "source.png"
    draw_strokes(request.param).save(path)
    return prepare_digit(path)[..., 0]


@pytest.fixture
def prepared(tmp_path):
    """Save a picture and prepare it."""

    def prepared(picture, name="picture.png", shape=(28, 28, 1), **options):
        if isinstance(picture, np.ndarray):
            picture = Image.fromarray(picture)
        picture.save(tmp_path / name, **options)
        return prepare_digit(tmp_path / name, shape)

    return prepared


def difference(result: np.ndarray, original: np.ndarray) -> float:
    return float(np.abs(result[..., 0].astype(float) - original).mean())


def enlarge(digit: np.ndarray, factor: int = 10, resample=Image.Resampling.NEAREST) -> np.ndarray:
    return np.asarray(Image.fromarray(digit).resize((28 * factor, 28 * factor), resample))


def photograph(digit: np.ndarray) -> np.ndarray:
    """Dark ink on grey paper, off centre, noisy and lit from one side."""
    rng = np.random.default_rng(0)
    paper = np.full((500, 700), 190.0) + np.linspace(0, 15, 700) + rng.normal(0, 4, (500, 700))
    paper[150:430, 30:310] -= enlarge(digit, resample=Image.Resampling.BICUBIC) * 0.6
    return paper.clip(0, 255).astype(np.uint8)


def test_form_of_mnist(digit):
    assert digit.dtype == np.uint8
    assert digit.max() == 255
    rows, columns = (np.flatnonzero(digit.any(axis)) for axis in (1, 0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    centre = (digit.sum(1) * np.arange(28)).sum() / digit.sum()
    assert 13.4 < centre < 14.6


VARIANTS = {
    "as it is": (lambda d: d, 0.5),
    "inverted": (lambda d: 255 - d, 0.5),
    "shifted": (lambda d: np.roll(d, (3, -2), (0, 1)), 0.5),
    "faint": (lambda d: 200 - d // 2, 0.7),
    "ten times as large": (enlarge, 1.5),
    "with margins": (lambda d: np.pad(enlarge(255 - d), ((20, 300), (90, 10)), constant_values=255), 1.5),
    "smoothly enlarged": (lambda d: enlarge(d, 8, Image.Resampling.BICUBIC), 12),
    "photograph": (photograph, 12),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_come_out_as_the_original(digit, prepared, variant):
    change, tolerance = VARIANTS[variant]
    assert difference(prepared(change(digit)), digit) < tolerance


def test_real_mnist_comes_out_as_it_went_in(mnist_root, prepared):
    digits = load_dataset("mnist", mnist_root).test_images[:40, ..., 0]
    for variant, limit in {
        "as it is": 0.5,
        "inverted": 0.5,
        "ten times as large": 1.5,
        "photograph": 10,
    }.items():
        change, _ = VARIANTS[variant]
        assert np.mean([difference(prepared(change(digit)), digit) for digit in digits]) < limit, variant


def test_jpeg_and_colour(digit, prepared):
    large = enlarge(255 - digit)
    assert difference(prepared(large, "picture.jpg", quality=95), digit) < 8
    assert difference(prepared(np.dstack([large] * 3)), digit) < 1.5


def test_modes_of_png(digit, prepared):
    dark = Image.fromarray(255 - digit)
    palette = dark.convert("RGB").quantize(256)
    sixteen = Image.fromarray((255 - digit).astype(np.uint16) * 257)
    assert difference(prepared(palette), digit) < 0.7
    assert difference(prepared(sixteen), digit) < 0.5
    # Black everywhere; the digit is in the transparency alone.
    black = Image.merge("LA", (Image.new("L", (28, 28)), Image.fromarray(digit)))
    assert difference(prepared(black), digit) < 0.5
    assert difference(prepared(black.convert("RGBA")), digit) < 0.5


def test_exif_orientation(digit, prepared):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn to the right
    assert difference(prepared(np.rot90(digit), exif=exif), digit) < 0.5


def test_other_shapes(digit, prepared):
    result = prepared(enlarge(digit), shape=(56, 42, 3))
    assert result.shape == (56, 42, 3)
    assert (result[..., 0] == result[..., 2]).all()
    rows, columns = (np.flatnonzero(result[..., 0].any(axis)) for axis in (1, 0))
    assert np.ptp(rows) + 1 == 40 or np.ptp(columns) + 1 == 30


@pytest.mark.parametrize("size", [(1, 1), (28, 28), (1, 3000), (640, 480)])
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_blank(prepared, size, grey):
    with pytest.raises(DataError, match="found no ink"):
        prepared(Image.new("L", size, grey))


def test_blank_but_noisy(prepared):
    with pytest.raises(DataError, match="found no ink"):
        prepared(np.random.default_rng(0).normal(200, 6, (480, 640)).clip(0, 255).astype(np.uint8))


def test_load_image_resizes(tmp_path):
    path = tmp_path / "picture.png"
    colours = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(colours).save(path)
    np.testing.assert_array_equal(load_image(path, (32, 32, 3)), colours)
    luminance = load_image(path, (32, 32, 1))
    np.testing.assert_allclose(luminance[..., 0], colours @ np.array([0.299, 0.587, 0.114]), atol=1)
    small = load_image(path, (8, 16, 3))
    assert small.shape == (8, 16, 3)
    assert small.dtype == np.uint8
    assert small.std() < colours.std()  # averaged, not sampled
    assert small.flags.writeable


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_too_many_pixels_are_refused_before_decoding(tmp_path):
    path = tmp_path / "bomb.png"
    for side in (7100, 12000, 60000):  # below and above the limits at which Pillow itself warns and refuses
        header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b""))
        with pytest.raises(DataError, match="pixels") as caught:
            prepare_digit(path)
        assert "\n" not in str(caught.value)


def test_animation_is_refused(tmp_path):
    frames = [Image.new("L", (28, 28), grey) for grey in (0, 99)]
    frames[0].save(tmp_path / "film.png", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="found an animated PNG"):
        prepare_digit(tmp_path / "film.png")


def test_other_formats_and_no_files(tmp_path):
    Image.new("L", (28, 28)).save(tmp_path / "picture.png", "GIF")
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    for name in ("picture.png", "text.png", "empty.png"):
        with pytest.raises(DataError, match="found another format"):
            load_image(tmp_path / name, (28, 28, 1))
    with pytest.raises(DataError, match="No such file"):
        load_image(tmp_path / "absent.png", (28, 28, 1))
    with pytest.raises(DataError, match="a folder or a device"):
        load_image(tmp_path, (28, 28, 1))
    with pytest.raises(DataError, match="null byte"):
        load_image("a\0b", (28, 28, 1))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_damaged_files_make_one_line(tmp_path, suffix):
    path = tmp_path / f"picture.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save(path)
    content = path.read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(200):
        mutated = bytearray(content)
        for position in rng.integers(0, len(content), 3):
            mutated[position] = rng.integers(256)
        path.write_bytes(mutated[: rng.integers(1, len(content) + 1)] if rng.random() < 0.5 else mutated)
        try:
            assert load_image(path, (28, 28, 1)).shape == (28, 28, 1)
        except DataError as error:
            assert "\n" not in str(error)  # noqa: PT017 (some mutations are harmless)


def test_every_byte_of_a_png_is_verified(tmp_path):
    path, picture = tmp_path / "picture.png", np.add.outer(np.arange(9), np.arange(11)).astype(np.uint8) * 9
    Image.fromarray(picture).save(path)
    content = path.read_bytes()
    damaged = [content[:length] for length in range(1, len(content))]
    damaged += [content[:k] + bytes([content[k] ^ 1]) + content[k + 1 :] for k in range(len(content))]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            load_image(path, (9, 11, 1))
        assert "\n" not in str(caught.value)


def test_png_with_an_unknown_essential_chunk_is_refused(tmp_path):
    path = tmp_path / "phone.png"
    Image.new("L", (28, 28)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[:8] + png_chunk(b"CgBI", bytes(4)) + content[8:])  # Apple's own variant, another format
    with pytest.raises(DataError, match="unknown chunk 'CgBI'"):
        load_image(path, (28, 28, 1))
    path.write_bytes(content[:33] + png_chunk(b"teSt", bytes(4)) + content[33:])  # a small letter first: not essential
    assert not load_image(path, (28, 28, 1)).any()


def test_large_jpeg_is_decoded_smaller(tmp_path):
    slope = Image.linear_gradient("L").resize((4600, 4600))
    slope.convert("RGB").save(tmp_path / "large.jpg")
    expected = np.asarray(slope.resize((28, 28), Image.Resampling.BILINEAR), float)
    found = load_image(tmp_path / "large.jpg", (28, 28, 3))
    assert np.abs(found - expected[..., None]).max() <= 3  # of 255: JPEG's own loss
    slope.save(tmp_path / "large.png")
    assert np.abs(load_image(tmp_path / "large.png", (28, 28, 1))[..., 0] - expected).max() <= 1
    slope.convert("RGB").save(tmp_path / "colour.png", compress_level=1)
    with pytest.raises(DataError, match="4600×4600 pixels"):
        load_image(tmp_path / "colour.png", (28, 28, 1))
