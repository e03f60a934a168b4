"""Synthetic handwritten digits: the shapes, and the call that draws them.

A glyph is a list of strokes; a stroke is a list of runs. Within a run the pen moves smoothly through the
points; runs join at a corner. Coordinates are (x, y) in the unit square, y pointing down.

Importing this module does not import Numba; the kernels (:mod:`lenumba.kernels.digits.kernels`) are imported
when they are compiled.
"""

import functools
import math

import numpy as np

from lenumba.kernels.compile.native import Native, Source, get_program

SIDE = 28
POINTS = 16  # control points per glyph at most
STEPS = 6  # line segments between two control points

SOURCE = Source(
    name="digits",
    text="from lenumba.kernels.digits.kernels import draw\n",
    entry="draw",
    signature=("u8*", "i64*", "i64", "i64", "f64*", "i64*", "i64*", "f64*", "f64*", "f64*"),
)

Point = tuple[float, float]
Run = list[Point]
Glyph = list[list[Run]]


def arc(x: float, y: float, rx: float, ry: float, start: float, stop: float, count: int) -> Run:
    """Return `count` points on an ellipse around (x, y); angles in degrees, 0 to the right, 90 downwards."""
    angles = [math.radians(start + (stop - start) * i / (count - 1)) for i in range(count)]
    # Rounded, so that the table does not depend on the machine's libm.
    return [(round(x + rx * math.cos(a), 4), round(y + ry * math.sin(a), 4)) for a in angles]


def line(*points: Point) -> list[Run]:
    """Return a stroke of straight lines: every point is a corner."""
    return [[point] for point in points]


GLYPHS: dict[int, list[Glyph]] = {
    0: [
        [[arc(0.5, 0.5, 0.31, 0.45, -90, -455, 8)]],
        [[arc(0.5, 0.5, 0.24, 0.45, -55, -400, 8)]],  # narrow, not quite closed at the top
        [[[*arc(0.5, 0.52, 0.33, 0.42, -110, -440, 8), (0.4, 0.16), (0.3, 0.2)]]],  # the end crosses the start
    ],
    1: [
        [line((0.5, 0.05), (0.5, 0.95))],
        [line((0.57, 0.05), (0.43, 0.95))],
        [line((0.3, 0.28), (0.52, 0.05), (0.5, 0.95))],  # with a serif
        [line((0.32, 0.25), (0.52, 0.05), (0.52, 0.95)), line((0.28, 0.95), (0.77, 0.94))],  # and a base
    ],
    2: [
        [[[*arc(0.48, 0.3, 0.28, 0.25, -165, 25, 6), (0.5, 0.68), (0.22, 0.93)], [(0.82, 0.92)]]],
        [  # with a loop
            [
                [
                    *arc(0.46, 0.28, 0.28, 0.23, -160, 20, 5),
                    (0.52, 0.7),
                    (0.3, 0.9),
                    (0.17, 0.85),
                    (0.27, 0.74),
                    (0.52, 0.88),
                    (0.85, 0.88),
                ]
            ]
        ],
        [
            [
                [*arc(0.5, 0.28, 0.25, 0.22, -180, 20, 5), (0.45, 0.66), (0.2, 0.9)],
                [(0.45, 0.84), (0.66, 0.93), (0.87, 0.84)],
            ]
        ],
    ],
    3: [
        [[arc(0.46, 0.28, 0.26, 0.22, -150, 85, 6), arc(0.46, 0.72, 0.3, 0.23, -85, 150, 7)]],
        [[[(0.24, 0.08)], [(0.76, 0.07)], [(0.45, 0.42)], arc(0.46, 0.68, 0.29, 0.26, -70, 150, 6)]],  # flat top
        [  # with a loop at the waist
            [
                [
                    *arc(0.48, 0.27, 0.26, 0.21, -155, 60, 6),
                    (0.44, 0.52),
                    (0.38, 0.47),
                    (0.5, 0.45),
                    *arc(0.47, 0.7, 0.3, 0.25, -45, 150, 5),
                ]
            ]
        ],
    ],
    4: [
        [line((0.27, 0.1), (0.2, 0.56), (0.86, 0.54)), line((0.7, 0.08), (0.66, 0.95))],  # open
        [line((0.63, 0.05), (0.18, 0.63), (0.87, 0.62)), line((0.63, 0.05), (0.62, 0.95))],  # closed
        [
            [[(0.25, 0.1), (0.2, 0.36), (0.32, 0.52), (0.53, 0.5), (0.72, 0.4)]],
            line((0.75, 0.08), (0.66, 0.95)),
        ],
        [line((0.63, 0.95), (0.66, 0.06), (0.2, 0.58), (0.88, 0.56))],  # in one stroke, from below
    ],
    5: [
        [[[(0.78, 0.07)], [(0.34, 0.07)], [(0.28, 0.45)], arc(0.45, 0.68, 0.3, 0.26, -115, 145, 7)]],
        [  # the bar comes last
            [[(0.33, 0.09)], [(0.28, 0.43)], arc(0.46, 0.67, 0.28, 0.27, -120, 150, 7)],
            line((0.33, 0.09), (0.82, 0.06)),
        ],
        [
            [
                [
                    (0.78, 0.1),
                    (0.5, 0.07),
                    (0.31, 0.22),
                    (0.42, 0.43),
                    (0.68, 0.58),
                    (0.68, 0.83),
                    (0.44, 0.94),
                    (0.2, 0.86),
                ]
            ]
        ],
    ],
    6: [
        [[[(0.68, 0.05), (0.4, 0.24), (0.26, 0.52), *arc(0.5, 0.71, 0.24, 0.23, 180, -170, 8)]]],
        [[[(0.5, 0.04), (0.35, 0.32), (0.28, 0.6), *arc(0.48, 0.75, 0.2, 0.19, 170, -160, 8)]]],  # upright
        [[[(0.72, 0.1), (0.5, 0.1), (0.3, 0.3), *arc(0.5, 0.68, 0.27, 0.26, 180, -130, 8)]]],  # loop not closed
    ],
    7: [
        [line((0.2, 0.1), (0.8, 0.1), (0.42, 0.95))],
        [line((0.2, 0.1), (0.8, 0.1), (0.4, 0.95)), line((0.34, 0.53), (0.78, 0.5))],  # with a bar
        [[[(0.2, 0.26)], [(0.23, 0.1)], [(0.8, 0.1)], [(0.56, 0.48), (0.46, 0.95)]]],  # with a serif
        [[[(0.18, 0.15), (0.42, 0.08), (0.74, 0.1), (0.72, 0.3), (0.52, 0.6), (0.42, 0.95)]]],  # rounded
    ],
    8: [
        [  # one stroke that crosses itself
            [
                [
                    *[(0.7, 0.18), (0.5, 0.06), (0.3, 0.17), (0.34, 0.36), (0.52, 0.48), (0.71, 0.65)],
                    *[
                        (0.68, 0.87),
                        (0.48, 0.95),
                        (0.29, 0.85),
                        (0.31, 0.64),
                        (0.5, 0.48),
                        (0.68, 0.33),
                        (0.7, 0.18),
                    ],
                ]
            ]
        ],
        [[arc(0.5, 0.27, 0.2, 0.21, 90, 450, 8)], [arc(0.5, 0.71, 0.26, 0.24, -90, 270, 8)]],  # two rings
        [  # open at the top
            [
                [
                    *[(0.72, 0.16), (0.52, 0.07), (0.31, 0.18), (0.4, 0.4), (0.62, 0.58), (0.68, 0.82)],
                    *[(0.46, 0.95), (0.29, 0.8), (0.42, 0.56), (0.64, 0.36), (0.78, 0.2)],
                ]
            ]
        ],
    ],
    9: [
        [[arc(0.47, 0.29, 0.24, 0.23, -10, -370, 9), [(0.66, 0.95)]]],  # straight tail
        [
            [
                [
                    *arc(0.48, 0.3, 0.24, 0.24, -30, -350, 8),
                    (0.72, 0.4),
                    (0.66, 0.75),
                    (0.48, 0.94),
                    (0.26, 0.86),
                ]
            ]
        ],
        [
            [arc(0.47, 0.28, 0.25, 0.22, -45, -330, 8)],
            line((0.72, 0.1), (0.68, 0.5), (0.56, 0.95)),
        ],  # loop not closed
    ],
}


def encode(glyph: Glyph) -> np.ndarray:
    """Return a glyph's control points.

    Returns
    -------
    np.ndarray
        float64 [POINTS, 3]: x, y, and 0 where a stroke starts, 1 inside a run, 2 at its end, −1 if unused.
    """
    table = np.full((POINTS, 3), -1.0)
    rows = [
        (x, y, 0 if i == j == 0 else 2 if j == len(run) - 1 else 1)
        for stroke in glyph
        for i, run in enumerate(stroke)
        for j, (x, y) in enumerate(run)
    ]
    table[: len(rows)] = rows
    return table


@functools.cache
def program() -> Native:
    """Return the compiled drawing program."""
    return get_program(SOURCE)


def draw_digits(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw digits 0–9 that look handwritten, in the style of MNIST.

    Image i depends on `seed` and i alone, so a longer call starts with what a shorter one returns. Every ten
    successive images hold each digit once.

    Parameters
    ----------
    count
        Number of images.
    seed
        Any whole number; taken modulo 2⁶⁴.

    Returns
    -------
    images : np.ndarray
        uint8 [count, 28, 28]: white ink (255) on black (0).
    labels : np.ndarray
        int64 [count].
    """
    images = np.empty((count, SIDE, SIDE), np.uint8)
    labels = np.empty(count, np.int64)
    glyphs = np.stack([encode(glyph) for digit in range(10) for glyph in GLYPHS[digit]])
    styles = np.cumsum([0, *(len(GLYPHS[digit]) for digit in range(10))], dtype=np.int64)
    order = np.empty(10, np.int64)
    points, path, depth = np.empty((POINTS, 3)), np.empty((POINTS * STEPS, 3)), np.empty((SIDE, SIDE))
    arrays = [glyphs, styles, order, points, path, depth]
    program()(images.ctypes.data, labels.ctypes.data, count, seed, *(array.ctypes.data for array in arrays))
    return images, labels
