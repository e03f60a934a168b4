"""Pictures of one's own on the report page: prepared and answered as `lenumba predict` does it."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from browser import in_browser
from node import packed, run_scripts
from PIL import Image, ImageDraw

import lenumba as package
from lenumba.engine.config.config import read_config
from lenumba.engine.data.images import load_image, prepare_digit
from lenumba.engine.runs.run import start_run

PREPARE = """
const picture = { width: given.width, height: given.height, data: bytes };
answer(Array.from(preparePicture(picture, given.kind, given.shape) ?? []));
"""


def scene(size: tuple[int, int], seed: int) -> Image.Image:
    """Return a picture of coarse colours with fine noise, (width, height)."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    return Image.fromarray((np.asarray(coarse) + rng.normal(0, 12, (size[1], size[0], 3))).clip(0, 255).astype("u1"))


def digit(seed: int, paper: int = 235, ink: int = 25, size: tuple[int, int] = (90, 120)) -> Image.Image:
    """Return a scanned digit: strokes at some place of a noisy sheet."""
    rng = np.random.default_rng(seed)
    picture = Image.new("L", size, paper)
    points = [tuple(map(int, rng.integers(0.2 * np.array(size), 0.8 * np.array(size)))) for _ in range(4)]
    ImageDraw.Draw(picture).line(points, fill=ink, width=8, joint="curve")
    noisy = np.asarray(picture) + rng.normal(0, 3, size[::-1])
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).convert("RGB")


def prepared(picture: Image.Image, kind: str, shape: tuple[int, int, int]) -> np.ndarray:
    """Return what the page makes of a picture: int [H, W, C]."""
    height, width, channels = shape
    found = run_scripts(
        PREPARE, width=picture.width, height=picture.height, kind=kind, shape=[channels, height, width],
        pixels=packed(np.asarray(picture.convert("RGBA"))),
    )  # fmt: skip
    return np.reshape(found, (channels, height, width)).transpose(1, 2, 0)


@pytest.mark.parametrize("shape", [(20, 30, 3), (20, 30, 1), (64, 9, 3), (130, 160, 1), (1, 1, 3)])
@pytest.mark.parametrize("size", [(97, 61), (30, 20), (16, 200)])
def test_pictures_are_resized_as_in_training(tmp_path, shape, size):
    scene(size, 1).save(tmp_path / "scene.png")
    expected = load_image(tmp_path / "scene.png", shape).astype(int)
    difference = np.abs(prepared(scene(size, 1), "plain", shape) - expected)
    # Bytes are rounded after either step, and Pillow's versions take them in different orders.
    assert difference.max() <= 1
    assert difference.mean() < 0.25


@pytest.mark.parametrize(
    "picture",
    [
        *(digit(seed) for seed in range(6)),
        *(digit(seed, 20, 230) for seed in range(2)),
        digit(7, 200, 120, (25, 19)),
        digit(8, size=(2100, 1500)),
    ],
    ids=lambda picture: f"{picture.size}",
)
def test_digits_are_fitted_and_centred_as_in_training(tmp_path, picture):
    picture.save(tmp_path / "digit.png")
    expected = prepare_digit(tmp_path / "digit.png", (28, 28, 1)).astype(int)
    difference = np.abs(prepared(picture, "digit", (28, 28, 1)) - expected)
    assert difference.max() <= 1


def test_a_sheet_without_ink_is_no_digit():
    assert run_scripts(
        PREPARE, width=9, height=9, kind="digit", shape=[1, 28, 28], pixels=packed(np.full((9, 9, 4), 250, np.uint8))
    ) == []  # fmt: skip


DROP = """
const later = (ready) => new Promise((done) => {
  const look = () => (ready() ? done() : setTimeout(look, 5));
  look();
});
(async () => {
  const found = [];
  for (const { name, data } of FILES) {
    const file = new File([Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0))], name);
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(file);
    at("chosen").textContent = "";
    dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
    await later(() => at("chosen").textContent);
    found.push({ said: at("chosen").textContent, answer: at("answer").textContent, shares: shares(now.outputs) });
  }
  answer(found);
})();
"""


def dropped(page: Path, pictures: dict[str, bytes], folder: Path) -> list[dict]:
    """Drop files on a page in a browser without network; return what it says of each, and the outputs."""
    files = [{"name": name, "data": base64.b64encode(data).decode()} for name, data in pictures.items()]
    return in_browser(page, f"const FILES = {json.dumps(files)};{DROP}", folder)


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def assert_answers(found, pictures, model, folder):
    """Compare with what `predict` makes of the same files."""
    for item, (name, data) in zip(found, pictures.items(), strict=True):
        (folder / name).write_bytes(data)
        outputs = model.predict_proba(model.read_picture(folder / name))[0]
        assert item["said"] == name
        # A browser may decode a JPEG file's pixels one off, and a PNG file's never.
        np.testing.assert_allclose(item["shares"], outputs, atol=0.02, err_msg=name)
        assert item["answer"].startswith(f"{model.class_names[outputs.argmax()]} – ")


def test_a_dropped_picture_gets_the_answer_of_predict(run, lenumba, tmp_path):
    assert lenumba("report", run).exit_code == 0
    pictures = {}
    for seed in range(4):
        pictures |= {
            f"{seed}.png": encoded(digit(seed), "PNG"),
            f"{seed}.jpg": encoded(digit(seed), "JPEG", quality=90),
        }
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures["turned.jpg"] = encoded(digit(5), "JPEG", exif=exif)
    pictures["see through.png"] = encoded(clear_paper(digit(6)), "PNG")
    blank = {"blank.png": encoded(Image.new("L", (30, 30), 200), "PNG"), "text.png": b"no picture"}
    found = dropped(run / "report.html", pictures | blank, tmp_path)
    assert_answers(found[: len(pictures)], pictures, package.load(run), tmp_path)
    assert found[-2]["said"] == "blank.png: no digit that stands out from its background"
    assert found[-1]["said"] == "text.png: no picture that this browser can read"


def clear_paper(picture: Image.Image) -> Image.Image:
    """Return a picture whose light parts are transparent."""
    whole = np.asarray(picture.convert("RGBA")).copy()
    whole[whole[..., 0] > 150] = 0
    return Image.fromarray(whole)


def test_colour_pictures_that_are_not_square_are_dropped_too(tmp_path, lenumba):
    rng = np.random.default_rng(0)
    for number, name in enumerate(("dawn", "noon")):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for k in range(30):
            warm = scene((40, 25), 100 * number + k)
            colour = (200 - 90 * number, 120, 90 + 100 * number)
            mixed = Image.blend(warm, Image.new("RGB", warm.size, colour), 0.15 * rng.random())
            mixed.save(tmp_path / "pictures" / name / f"{k}.png")
    text = f"""\
data: {{name: folder, root: "{tmp_path / "pictures"}", image_size: [10, 16, 3], batch_size: 8, validation: 0}}
network:
  layers:
    - {{type: conv, channels: 3, kernel_size: 3, activation: relu}}
    - flatten
    - {{type: dense, units: 2, activation: softmax}}
optimizer: {{name: adamw, learning_rate: 0.002}}
train: {{epochs: 3}}
"""
    model = package.load(start_run(read_config(text, "colour.yaml"), out=tmp_path / "run").path)
    assert lenumba("report", tmp_path / "run").exit_code == 0
    pictures = {}
    for seed in range(3):
        picture = scene((50 + 31 * seed, 33), 7 * seed)
        pictures |= {f"{seed}.png": encoded(picture, "PNG"), f"{seed}.jpg": encoded(picture, "JPEG", quality=95)}
    pictures["grey.png"] = encoded(scene((33, 44), 3).convert("L"), "PNG")
    assert_answers(dropped(tmp_path / "run" / "report.html", pictures, tmp_path), pictures, model, tmp_path)
