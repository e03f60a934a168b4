"""The synthetic digits: reproducible, balanced, plausible as images, and learnable."""

import os
import subprocess
import sys

import numpy as np
import pytest

from lenumba.kernels.digits.digits import GLYPHS, POINTS, draw_digits, encode


@pytest.fixture(scope="module")
def digits():
    return draw_digits(2000, 0)


def test_shapes_and_types(digits):
    images, labels = digits
    assert images.shape == (2000, 28, 28)
    assert images.dtype == np.uint8
    assert labels.shape == (2000,)
    assert labels.dtype == np.int64


@pytest.mark.parametrize("count", [0, 1, 7, 10, 33])
def test_a_short_call_is_a_prefix_of_a_longer_one(digits, count):
    images, labels = draw_digits(count, 0)
    np.testing.assert_array_equal(images, digits[0][:count])
    np.testing.assert_array_equal(labels, digits[1][:count])


def test_seeds_differ(digits):
    images, labels = draw_digits(2000, 1)
    assert (labels != digits[1]).mean() > 0.8
    assert (images != digits[0]).any(axis=(1, 2)).all()


@pytest.mark.parametrize("seed", [-1, 2**63 - 1])
def test_any_whole_number_is_a_seed(digits, seed):
    images, labels = draw_digits(20, seed)
    assert sorted(labels) == sorted([*range(10)] * 2)
    assert (images != digits[0][:20]).any()


def test_every_ten_images_hold_each_digit_once_in_random_order(digits):
    blocks = digits[1].reshape(-1, 10)
    np.testing.assert_array_equal(np.sort(blocks), np.tile(np.arange(10), (200, 1)))
    counts = np.array([np.bincount(column, minlength=10) for column in blocks.T])
    assert counts.min() > 5  # 20 expected at each place
    assert counts.max() < 42


def test_no_image_repeats(digits):
    assert len(np.unique(digits[0].reshape(2000, -1), axis=0)) == 2000


def test_white_ink_on_black(digits):
    images = digits[0]
    assert images.min() == 0
    assert images.max() >= 250
    assert (images.reshape(2000, -1).max(axis=1) > 150).all()
    assert 0.7 < (images == 0).mean() < 0.9
    assert 20 < images.mean() < 40  # 33 in MNIST
    assert (images.mean(axis=(1, 2)) > 4).all()
    assert ((images > 0) & (images < 128)).mean() > 0.02  # edges are grey


def test_ink_lies_near_the_centre(digits):
    images = digits[0].astype(np.float64)
    total = images.sum(axis=(1, 2))
    positions = np.arange(28)
    rows = images.sum(axis=2) @ positions / total
    columns = images.sum(axis=1) @ positions / total
    for centre in (rows, columns):
        assert abs(centre.mean() - 13.5) < 1
        assert abs(centre - 13.5).max() < 7
    margin = np.ones((28, 28), bool)
    margin[1:-1, 1:-1] = False
    assert (images[:, margin] > 0).mean() < 0.002


def test_digits_are_learnable_but_not_trivial(digits):
    images, labels = digits
    centroids = np.stack([images[labels == digit].mean(axis=0).ravel() for digit in range(10)])
    test_images, test_labels = draw_digits(1000, 1)
    pixels = test_images.reshape(1000, -1).astype(np.float64)
    distances = (centroids**2).sum(axis=1) - 2 * pixels @ centroids.T
    accuracy = (distances.argmin(axis=1) == test_labels).mean()
    assert 0.55 < accuracy < 0.9


def test_every_digit_has_several_styles_that_fit_the_table():
    for digit in range(10):
        assert len(GLYPHS[digit]) >= 3
        for glyph in GLYPHS[digit]:
            table = encode(glyph)
            kinds = table[table[:, 2] >= 0, 2]
            assert 2 <= len(kinds) <= POINTS
            assert (kinds == 0).sum() == len(glyph)
            assert kinds[-1] == 2  # a spline that ends needs no point after the last
            assert table[: len(kinds), :2].min() >= 0
            assert table[: len(kinds), :2].max() <= 1


def test_a_negative_count_is_refused():
    with pytest.raises(ValueError, match="negative"):
        draw_digits(-1, 0)


SCRIPT = """
import hashlib, sys
from lenumba.kernels.digits.digits import draw_digits, program
images, labels = draw_digits(100, 5)
digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
print(digest, program().cached, "numba" in sys.modules)
"""


def test_a_warm_cache_draws_the_same_without_importing_numba(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", SCRIPT]
    cold, warm = (
        subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True, text=True)
        for _ in range(2)
    )
    cold_digest, *cold_state = cold.stdout.split()
    warm_digest, *warm_state = warm.stdout.split()
    assert cold_state == ["False", "True"]
    assert warm_state == ["True", "False"]
    assert warm_digest == cold_digest
