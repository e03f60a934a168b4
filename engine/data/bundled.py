"""Data sets that an installed library brings along."""

import importlib.util
from pathlib import Path

import numpy as np

from lenumba.engine.common.errors import DataError

DIGITS_TEST = 500  # the last ones


def read_digits8x8() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Read scikit-learn's handwritten digits: the test set of E. Alpaydin and C. Kaynak, UCI repository, 1998.

    Each pixel counts the ink, 0 to 16, in 4×4 pixels of a scan. There is no customary split: here the first 1297
    images train and the last 500 test, in the file's order, as neighbours often come from one writer.

    Returns
    -------
    train_images, train_labels, test_images, test_labels
        uint8 [N, 8, 8, 1], round(ink · 255 / 16), and int64 [N].

    Raises
    ------
    DataError
        Where scikit-learn is not installed, or lacks the file.
    """
    spec = importlib.util.find_spec("sklearn")  # found, not imported: that would take a second
    places = spec.submodule_search_locations if spec is not None and spec.submodule_search_locations else []
    path = next((file for place in places if (file := Path(place, "datasets/data/digits.csv.gz")).is_file()), None)
    if path is None:
        raise DataError(
            "digits8x8: expected scikit-learn, which brings these images along, found none; "
            "pip install 'lenumba[sklearn]'"
        )
    try:
        table = np.loadtxt(path, delimiter=",", dtype=np.int64, ndmin=2)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: expected a table of whole numbers, found: {error}; reinstall scikit-learn") from None
    pixels, labels = table[:, :-1], table[:, -1]
    if pixels.shape[1] != 64 or len(table) <= DIGITS_TEST or pixels.min() < 0 or pixels.max() > 16:
        raise DataError(f"{path}: expected rows of 64 values from 0 to 16 and a label; reinstall scikit-learn")
    images = np.rint(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    return images[:-DIGITS_TEST], labels[:-DIGITS_TEST], images[-DIGITS_TEST:], labels[-DIGITS_TEST:]
