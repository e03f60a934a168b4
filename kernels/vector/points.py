"""Fast convolution's matrices, derived from its points.

A correlation of `taps` weights with outputs + taps − 1 neighbours is a product of polynomials modulo (x − a) for each
of as many points a, the last of which is ∞ (Toom 1963, Cook 1966, Winograd 1980; Lavin & Gray 2016 for networks):

    y = Aᵀ ((G w) ⊙ (B x))

so that `outputs` results take outputs + taps − 1 products instead of outputs · taps. Gradients are the same maps
transposed: ∂L/∂x = Bᵀ ((G w) ⊙ (A ∂L/∂y)) and ∂L/∂w = Gᵀ ((A ∂L/∂y) ⊙ (B x)).
"""

import functools
from collections.abc import Sequence
from fractions import Fraction

POINTS = tuple(map(Fraction, ("0", "1", "-1", "2", "-2", "1/2", "-1/2")))  # what else there is costs more digits
IMAGE, RESULT, WEIGHTS, IMAGE_BACK, RESULT_BACK, WEIGHTS_BACK = range(6)  # B, Aᵀ, G and their transposes
Matrix = tuple[tuple[Fraction, ...], ...]


def product_of(points: Sequence[Fraction]) -> list[Fraction]:
    """Return the coefficients of Π (x − a), the constant one first."""
    found = [Fraction(1)]
    for a in points:
        found = [low - a * high for low, high in zip([Fraction(0), *found], [*found, Fraction(0)], strict=True)]
    return found


@functools.cache
def matrices(outputs: int, taps: int) -> tuple[Matrix, Matrix, Matrix]:
    """Return A [points, outputs], G [points, taps] and B [points, points].

    Raises
    ------
    ValueError
        Where there are not that many points.
    """
    count = outputs + taps - 2
    if count > len(POINTS):
        raise ValueError(f"expected at most {len(POINTS) + 1} points, found {count + 1}")
    points = POINTS[:count]
    a, g, b = [], [], []
    for point in points:
        others = [other for other in points if other != point]
        scale = Fraction(1)
        for other in others:
            scale *= point - other
        a.append(tuple(point**k for k in range(outputs)))
        g.append(tuple(point**v / scale for v in range(taps)))
        b.append((*product_of(others), Fraction(0)))
    a.append(tuple(Fraction(k == outputs - 1) for k in range(outputs)))
    g.append(tuple(Fraction(v == taps - 1) for v in range(taps)))
    b.append(tuple(product_of(points)))
    return tuple(a), tuple(g), tuple(b)


def matrix_of(kind: int, outputs: int, taps: int) -> Matrix:
    """Return the matrix that one of the six transforms multiplies with."""
    a, g, b = matrices(outputs, taps)
    return (b, transposed(a), g, transposed(b), a, transposed(g))[kind]


def transposed(matrix: Matrix) -> Matrix:
    """Return a matrix with rows and columns exchanged."""
    return tuple(zip(*matrix, strict=True))


def mirrored(row: Sequence[Fraction], other: Sequence[Fraction]) -> bool:
    """Return whether two rows differ by the signs of some numbers, neither of none nor of all."""
    pairs = list(zip(row, other, strict=True))
    return {a == b for a, b in pairs if a or b} == {True, False} and all(abs(a) == abs(b) for a, b in pairs)
