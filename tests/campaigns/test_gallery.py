"""Every function with a planted cause; the factors to expect against those that mending by hand gives; the gate."""

import subprocess
import sys
from statistics import median

import gallery
import pytest

import lenumba as package
from lenumba.engine.profile.calls import Calls
from lenumba.kernels.measure.sampling import why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "sampling works here")


def test_planted_causes_are_told_first(campaign):
    names = sorted(gallery.GALLERY)
    tried, wrong, far = 0, {}, {}
    for name in campaign.each(names, 0):
        entry = gallery.GALLERY[name]
        found = package.profile(entry.function, *entry.make(), seconds=1.0)
        first = found["causes"][0]
        tried += 1
        if not (first["limit"] if entry.cause.startswith("bound by") else first["name"] == entry.cause):
            wrong[name] = first["name"]
        elif entry.mended:
            mended = Calls(entry.mended, (entry.make_mended or entry.make)())
            factor = found["call_ms"] / 1e3 / median(mended.times(1.0))
            if not 0.5 <= first["factor"] / factor <= 2:
                far[name] = f"expected {first['factor']:.1f}, mended {factor:.1f}"
    campaign.note(f"gallery: {tried - len(wrong)} of {tried} told; not: {wrong}; factors off by more than 2: {far}")
    assert len(wrong) <= max(0, tried // 12)


SLOW = """
import numpy as np
from numba import njit


@njit
def work(x, n):
    s = 0.0
    for k in range(n):
        for i in range(x.size):
            s += x[i] * x[i]
    return s
"""


def test_the_gate_notices_a_tenth_and_nothing_else(campaign, tmp_path):
    file = tmp_path / "gated.py"
    file.write_text(SLOW + "\n\n@njit\ndef slower(x, n):\n    return work(x, n + n // 10)\n")
    command = [sys.executable, "-m", "lenumba", "profile", f"{file}:slower", "--args", "np.ones(999), 100", "--seconds"]
    rounds = campaign.size(0, 20)
    noticed = alarms = 0
    for _ in range(rounds):
        noticed += subprocess.run([*command, "2", "--compare", f"{file}:work"], check=False).returncode == 1
        alarms += subprocess.run([*command, "2", "--compare", f"{file}:slower"], check=False).returncode == 1
    campaign.note(f"gate: a tenth slower noticed in {noticed} of {rounds}, {alarms} false alarms")
    assert noticed >= 0.95 * rounds
    assert alarms == 0
