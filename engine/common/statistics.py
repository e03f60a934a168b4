"""Is a difference more than chance? Student's paired t-test and McNemar's exact test, without SciPy."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean; 0 for a single value."""
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def paired_p_value(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the two-sided p value of Student's paired t-test.

    Parameters
    ----------
    first, second
        Results of two configurations, with the same seeds in the same order; at least two each.

    Returns
    -------
    float
        1 where all differences are zero; 0 where all are the same and not zero.
    """
    differences = [a - b for a, b in zip(first, second, strict=True)]
    mean, error = fmean(differences), standard_error(differences)
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return two_sided(mean / error, len(differences) - 1)


def two_sided(t: float, freedom: int) -> float:
    """Return how probable it is that Student's t is at least so far from 0, with so many degrees of freedom."""
    return regularized_beta(freedom / (freedom + t * t), freedom / 2, 0.5)


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return Student's confidence interval of the mean of at least two values."""
    low, high = 0.0, 1e6
    for _ in range(80):  # the quantile by bisection: what lies outside falls with t
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided(middle, len(values) - 1) > 1 - level else (low, middle)
    mean, reach = fmean(values), high * standard_error(values)
    return mean - reach, mean + reach


def median_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return the confidence interval of the median, from order statistics alone: no shape of the noise is assumed."""
    ordered, count = sorted(values), len(values)
    below, k = 0.5**count, 0
    while below < (1 - level) / 2 and k < count // 2:
        k += 1
        below += math.comb(count, k) * 0.5**count
    k = max(0, k - 1) if below >= (1 - level) / 2 else k
    return ordered[k], ordered[count - 1 - k]


def mcnemar(first: int, second: int) -> float:
    """Return the two-sided p value of McNemar's exact test.

    Parameters
    ----------
    first, second
        How many images only the first classifier recognises, and how many only the second: under the null hypothesis,
        each of them is as likely the one as the other.
    """
    count = first + second
    tail = sum(math.comb(count, k) for k in range(min(first, second) + 1))
    return min(1.0, 2 * tail / 2**count)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values corrected for their number by Holm's method."""
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        corrected[index] = highest
    return corrected


def regularized_beta(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b) (DLMF 8.17, continued fraction 8.17.22)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast only below
        return 1 - regularized_beta(1 - x, b, a)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x) - math.log(a)
    )
    # Evaluated from the far end, where the tail no longer matters: 1 / (1 + d₁ / (1 + d₂ / (1 + …))).
    value = 1.0
    for n in range(400, 0, -1):
        m = n // 2
        if n % 2:
            d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        value = 1 + d / value
    return front / value
