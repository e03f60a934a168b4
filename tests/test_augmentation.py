"""Augmentation: the distortions are those that the configuration asks for, and a function of seed, epoch and place."""

import numpy as np
import pytest
import torch
from compiled import STILL, executor_for

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.config.config import read_config
from lenumba.engine.network.augmentation import AMOUNTS, Augment
from lenumba.engine.network.layers import Conv, Dense, Flatten
from lenumba.engine.network.layers.dropout import epoch_key
from lenumba.engine.network.network import Network
from lenumba.engine.training.build import build_network
from lenumba.kernels.program.source import program_source
from lenumba.kernels.reference import moves as reference_moves

KEY = epoch_key(3, 1)
EVERYTHING = {"shift": 2, "rotation": 25, "scale": 0.2, "shear": 0.2, "elastic": 1.5, "flip": "both"}


def network_for(shape, batch_size=None, **amounts):
    augment = Augment(**amounts)
    return Network([Flatten(), Dense(units=3, activation="softmax")], shape, augment=augment, batch_size=batch_size)


def distorted(shape, images, key=KEY, place=0, channels_scale=None, **amounts):
    """The block that starts at `place` of an epoch: x [16, C, H, W] and the mesh [16, 2, rows, columns]."""
    network = network_for(shape, **amounts)
    executor = executor_for(network)
    if channels_scale is not None:
        executor.scale[:], executor.shift[:] = channels_scale
    order = np.arange(place + 16) % len(images)
    rates = STILL.hyper(np.zeros(place // 16 + 1), 1)
    executor.train(images, np.zeros(len(images), np.int64), order, 16, rates, key=key, first_batch=place // 16)
    layout, work, frozen = network.layout, executor.memory[0], network.distortion.frozen
    x = work[layout.tensors[0].start :][: 16 * layout.tensors[0].size].reshape(*network.input_shape, 16)
    corners = (2, frozen["ROWS"], frozen["COLS"], 16)
    mesh = work[layout.augmentation + AMOUNTS :][: int(np.prod(corners))].reshape(corners)
    return x.transpose(3, 0, 1, 2).copy(), mesh.transpose(3, 0, 1, 2).astype(np.float64)


def draw(shape, count=16):
    height, width, channels = shape
    memory = np.random.default_rng(0).integers(0, 256, count * channels * height * width + 16, np.uint8)
    return memory[:-16].reshape(count, channels, height, width)


@pytest.mark.parametrize(("shape", "sigma"), [((28, 28, 1), 4), ((10, 13, 3), 3), ((1, 7, 2), 2), ((33, 5, 1), 8)])
def test_block_equals_twin_and_grid_sample(shape, sigma):
    images = draw(shape)
    scale, shift = np.linspace(0.5, 1, shape[2]) / 255, np.linspace(-1, 1, shape[2])
    found, mesh = distorted(shape, images, channels_scale=(scale, shift), elastic_sigma=sigma, **EVERYTHING)
    expected = reference_moves.augment(images, np.arange(16), mesh, sigma, scale, shift)
    # The weights are multiples of 1/256, and the coordinates advance in steps of 1/65536.
    tolerance = 1 / 256 + 2 * (sigma + 2) / 65536
    assert np.abs(found - expected).max() <= tolerance
    height, width, _ = shape
    points = np.empty((16, height, width, 2))
    for axis, size in ((0, height), (1, width)):
        rows, columns = np.arange(height) / sigma, np.arange(width) / sigma
        k = columns.astype(int)
        along = mesh[:, axis][:, :, k] * (1 - columns + k) + mesh[:, axis][:, :, k + 1] * (columns - k)
        k = rows.astype(int)
        part = (rows - k)[:, np.newaxis]
        # PyTorch's coordinates go from −1 to 1, the columns first; where there is one row, 2 a pixel.
        points[..., 1 - axis] = (along[:, k] * (1 - part) + along[:, k + 1] * part) * 2 / max(1, size - 1) - 1
    if min(height, width) > 1:
        grid, source = torch.tensor(points), torch.tensor(images.astype(np.float64))
        sampled = torch.nn.functional.grid_sample(source, grid, align_corners=True).numpy()
        sampled = sampled * scale[:, np.newaxis, np.newaxis] + shift[:, np.newaxis, np.newaxis]
        assert np.abs(sampled - expected).max() < 1e-12


def meshes(count=16, **amounts):
    """Meshes of many blocks: [16 · count, 2, 2, 2], the source points of the corners of a 25 × 25 pixel cell."""
    images = draw((25, 25, 1))
    parts = [distorted((25, 25, 1), images, key=epoch_key(0, k), **amounts)[1] for k in range(count)]
    return np.concatenate(parts)


CORNERS = np.array([[[0, 0], [25, 25]], [[0, 25], [0, 25]]]) - 12.0


@pytest.mark.parametrize(
    ("amounts", "map_of"),
    [
        ({"rotation": 180}, lambda v, u, t: np.stack([v * np.cos(t) + u * np.sin(t), u * np.cos(t) - v * np.sin(t)])),
        ({"scale": 0.5}, lambda v, u, t: np.stack([v / (1 + t), u / (1 + t)])),
        ({"shear": 0.5}, lambda v, u, t: np.stack([v + 0 * t, u + t * v])),
    ],
    ids=["rotation", "scale", "shear"],
)
def test_affine_maps(amounts, map_of):
    """Find each image's random number from one corner; then the others, and their distribution, are as stated."""
    mesh = meshes(**amounts).astype(np.float64) - 12
    v, u = mesh[:, :, 0, 0].T / -12
    [(name, amount)] = amounts.items()
    if name == "rotation":
        amount = np.pi
        drawn = np.arctan2(v - u, v + u)
    else:
        drawn = 1 / v - 1 if name == "scale" else u - 1
    expected = map_of(*CORNERS[:, np.newaxis], drawn[:, np.newaxis, np.newaxis]).transpose(1, 0, 2, 3)
    assert np.abs(mesh - expected).max() < 2e-5
    check_uniform(drawn / amount)


def check_uniform(values):
    """Uniform in [−1, 1]: the Kolmogorov distance is below what one sample in 10⁵ exceeds."""
    values = np.sort(values)
    assert values[0] >= -1 - 1e-5
    assert values[-1] <= 1 + 1e-5
    steps = np.arange(len(values) + 1) / len(values)
    distance = max(np.abs((values + 1) / 2 - steps[:-1]).max(), np.abs((values + 1) / 2 - steps[1:]).max())
    assert distance < 2.47 / np.sqrt(len(values))


def test_shift_moves_all_points_alike():
    mesh = meshes(shift=3) - 12 - CORNERS
    np.testing.assert_allclose(mesh, mesh[:, :, :1, :1] + np.zeros((1, 1, 2, 2)), atol=1e-5)
    for axis in range(2):
        check_uniform(mesh[:, axis, 0, 0] / 3)


def test_elastic_displacements_have_their_deviation_and_are_smooth():
    images = draw((28, 28, 1))
    mesh = [distorted((28, 28, 1), images, key=epoch_key(1, k), elastic=1.5)[1] for k in range(30)]
    moved = np.concatenate(mesh) - 4.0 * np.mgrid[0:8, 0:8]
    # 480 images with some 10 independent displacements each.
    assert moved.std() == pytest.approx(1.5, rel=5 / np.sqrt(2 * 2 * 4800))
    assert abs(moved.mean()) < 5 * 1.5 / np.sqrt(2 * 4800)
    for axis in (2, 3):
        a, b = np.moveaxis(moved, axis, 0)[:-1], np.moveaxis(moved, axis, 0)[1:]
        # Neighbours share four of five summands: (1·4 + 4·6 + 6·4 + 4·1) / (1 + 16 + 36 + 16 + 1).
        assert (a * b).mean() / 1.5**2 == pytest.approx(0.8, abs=0.05)
    assert abs(np.corrcoef(moved[:, 0].ravel(), moved[:, 1].ravel())[0, 1]) < 0.1


@pytest.mark.parametrize("shape", [(28, 28, 1), (10, 13, 3), (33, 5, 1)])
@pytest.mark.parametrize("flip", ["horizontal", "vertical", "both"])
def test_flips_mirror_every_other_image_and_nothing_else(shape, flip):
    images = draw(shape)
    found = [distorted(shape, images, key=epoch_key(0, k), flip=flip)[0] * 255 for k in range(8)]
    ways = {(): 0, (3,): 0, (2,): 0, (2, 3): 0}
    for block in found:
        for image, source in zip(np.rint(block), images, strict=True):
            ways[next(axes for axes in ways if (image == np.flip(source, [axis - 1 for axis in axes])).all())] += 1
    expected = {"horizontal": {(), (3,)}, "vertical": {(), (2,)}, "both": set(ways)}[flip]
    assert {axes for axes, count in ways.items() if count} == expected
    share = 128 / len(expected)
    assert all(abs(ways[axes] - share) < 4.5 * np.sqrt(share) for axes in expected)
    assert max(np.abs(block - np.rint(block)).max() for block in found) < 1e-3


@pytest.mark.long("compiles for long")
def test_noise_brightness_and_erasing():
    white = np.full((32, 1, 20, 24), 255, np.uint8)[:16]
    shape = (20, 24, 1)
    noisy = distorted(shape, white, noise=0.2)[0]
    assert noisy.mean() == pytest.approx(1, abs=5 * 0.2 / np.sqrt(noisy.size))
    assert noisy.std() == pytest.approx(0.2, rel=5 / np.sqrt(2 * noisy.size) + 0.01)
    bright = distorted(shape, white, brightness=0.5)[0].reshape(16, -1)
    assert np.ptp(bright, axis=1).max() == 0
    check_uniform((bright[:, 0] - 1) / 0.5)
    erased = np.concatenate([distorted(shape, white, key=epoch_key(0, k), erasing=0.5)[0] for k in range(8)])[:, 0] == 0
    assert 0.3 < erased.any(axis=(1, 2)).mean() < 0.7
    for image in erased:  # what is black is one rectangle, at most half as high and wide as the image
        rows, columns = image.any(axis=1), image.any(axis=0)
        assert (image == np.outer(rows, columns)).all()
        assert rows.sum() <= 10
        assert columns.sum() <= 12


def convolutional(**amounts):
    layers = [Conv(channels=2, kernel_size=3, padding="same", activation="relu"), Flatten(), Dense(units=3)]
    return Network(layers, (9, 11, 3), augment=Augment(**EVERYTHING, noise=0.1, erasing=0.5, brightness=0.1, **amounts))


def test_bits_depend_on_neither_threads_nor_resuming():
    images, labels = draw((9, 11, 3), 200), np.random.default_rng(0).integers(0, 3, 200)
    rows, found = STILL.hyper(np.full(3, 0.01), 1), []
    for threads, parts in ((1, [(0, 200)]), (2, [(0, 200)]), (7, [(0, 200)]), (2, [(0, 80), (1, 200)])):
        executor = executor_for(convolutional(), threads=threads)
        for first, count in parts:
            batches = -(-count // 80)
            executor.train(images, labels, np.arange(count), 80, rows[:batches], key=KEY, first_batch=first)
        found.append(executor.theta.tobytes())
    assert len(set(found)) == 1


def test_distortions_depend_on_seed_epoch_and_place():
    images = np.repeat(draw((28, 28, 1), 1), 16, axis=0)
    base, again, epoch, seed, place = (
        distorted((28, 28, 1), images, epoch_key(*numbers), start, **EVERYTHING)[1]
        for *numbers, start in [(0, 0, 0), (0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 16)]
    )
    np.testing.assert_array_equal(base, again)
    for other in (epoch, seed, place, np.roll(base, 1, axis=0)):
        assert (np.abs(base - other).max(axis=(1, 2, 3)) > 0.1).all()


def test_evaluation_never_distorts():
    images, labels = draw((28, 28, 1), 40), np.zeros(40, np.int64)
    plain, augmented = (executor_for(network_for((28, 28, 1), **amounts)) for amounts in ({}, EVERYTHING))
    for executor in (plain, augmented):
        executor.train(images, labels, np.arange(40), 40, STILL.hyper(np.zeros(1), 1), key=KEY)
    found, expected = (executor.evaluate(images, labels, np.arange(40)) for executor in (augmented, plain))
    assert found[0] == expected[0]
    np.testing.assert_array_equal(found[1], expected[1])


def test_program_without_augmentation_is_what_it_was():
    layers = [Flatten(), Dense(units=3)]
    before = program_source(Network(layers, (28, 28, 1)).plan(STILL)).text
    assert program_source(Network(layers, (28, 28, 1), augment=Augment(elastic_sigma=8)).plan(STILL)).text == before
    assert "augment" not in before


def test_small_batches_are_distorted_in_blocks():
    assert network_for((28, 28, 1), batch_size=1).unit == 1
    assert network_for((28, 28, 1), batch_size=1, shift=1).unit == 16


@pytest.mark.parametrize(
    "line", ["rotation: 181", "scale: 0.95", "noise: -0.1", "elastic_sigma: 1", "rotate: 5", "flip: left"]
)
def test_faults_name_their_field(line):
    text = f"data: {{name: bars}}\naugment:\n  {line}\nnetwork: {{layers: [flatten, {{type: dense, units: 2}}]}}\n"
    with pytest.raises(ConfigError, match=rf"^x:3: augment\.{line.partition(':')[0]}: "):
        read_config(text, "x")


def test_only_bytes_are_distorted():
    text = "data: {name: bars}\naugment: {shift: 1}\nnetwork: {layers: [flatten, {type: dense, units: 2}]}\n"
    with pytest.raises(ConfigError, match=r"^x:2: augment: expected every distortion off for float32 images"):
        build_network(read_config(text, "x"), (8, 8, 1), "float32")
