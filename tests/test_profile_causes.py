"""Advice that would not help is not given; what is told is measured where it can be."""

from bisect import bisect_right
from types import SimpleNamespace

import gallery
import gallery_five  # noqa: F401
import gallery_two  # noqa: F401
import numpy as np
import pytest
from numba import njit

import lenumba as package
from lenumba.engine.profile import machine
from lenumba.engine.profile.trying import corrected
from lenumba.kernels.measure import tracers
from lenumba.kernels.measure.llvm_code import parse
from lenumba.kernels.measure.observation import Observation
from lenumba.kernels.measure.observe import Observer
from lenumba.kernels.measure.sampling import Samples, why_not

sampled = pytest.mark.skipif(bool(why_not()), reason=why_not() or "sampling works here")


def told(name: str) -> list[dict]:
    entry = gallery.GALLERY[name]
    return package.profile(entry.function, *entry.make(), seconds=0.3)["causes"]


@sampled
def test_the_other_order_of_a_transposition_is_no_advice():
    first = told("turned")[0]
    assert first["name"] == "column order"
    assert "in blocks" in first["advice"]
    assert first["factor"] < 3


@sampled
def test_what_two_lanes_would_write_into_one_place_is_not_said_to_want_vectors():
    assert all(cause["limit"] for cause in told("binned"))


@sampled
def test_checks_are_not_blamed_where_a_library_takes_the_time():
    assert "division" not in [cause["name"] for cause in told("pulled")]


@njit
def medians(x, out):
    for i in range(out.size):
        out[i] = np.median(x[i : i + 9])


@sampled
def test_sorting_is_not_counted_as_what_an_allocation_costs():
    found = package.profile(medians, gallery.numbers(3000), np.zeros(2900), seconds=0.3)
    assert all(cause["factor"] < 3 for cause in found["causes"] if cause["name"] == "allocation")


@sampled
def test_threads_that_share_lines_are_blamed_only_where_that_costs_something():
    from lenumba.engine.profile.causes import whole_causes
    from lenumba.engine.profile.judging import Context
    from lenumba.engine.profile.loops import LoopFacts, Version

    one = SimpleNamespace(at=7, source=("a.py", 3))
    function = SimpleNamespace(symbol="f", blocks={})
    access = SimpleNamespace(count=1000, stores=True, place=SimpleNamespace(one=one))
    fact = LoopFacts(("a.py", 2), function, [Version(None, 1000, 1, 100.0, 1)], [], 1.0, 1e6, accesses=[access])
    for crowded, names in ((4.0, ["false sharing"]), (1.05, [])):
        context = Context(
            {"clock_ghz": 3.0}, {}, [], [], [50, 50], {7: 1.0}, False, False, frozenset(), crowded=crowded
        )
        causes = list(whole_causes([fact], context))
        assert [cause.name for cause in causes] == names
        assert all(cause.factor == crowded for cause in causes)


CODE = """\
define i32 @f(double %x) {
entry:
  %a = fadd double %x, 1.0
  %b = fmul double %a, 2.0
  ret i32 0
}
"""


def test_samples_of_code_without_a_line_are_those_of_the_instruction_before():
    [function] = parse(CODE)
    add, product = (one.at for one in function.blocks["entry"].instructions[:2])
    # The line table has 0 for what the compiler added, such as a register's spill.
    places = [(100, function.at + 1), (104, add + 1), (110, 0), (120, product + 1), (130, 0)]
    sites = np.array([101, 105, 112, 112, 125, 131])
    assert [places[bisect_right([address for address, _ in places], site) - 1][1] for site in sites].count(0) == 3
    seen = SimpleNamespace(function=None, parallel=False, found=Observation([function], CODE))
    samples = Samples(sites, sites, np.zeros(6, np.int64), np.arange(6))
    Observer.attribute(seen, SimpleNamespace(samples=lambda: samples), places)
    assert seen.found.samples == {add: (4, 0), product: (2, 0)}
    assert seen.found.beside == 0


def wrong_branches(outcomes) -> float:
    tracer, state = tracers.branch_tracer(1)
    for taken in outcomes:
        tracer(state.ctypes.data, 0, int(taken))
    record = state[tracers.HEADER : tracers.HEADER + tracers.BRANCH_WORDS]
    assert record[0] == len(outcomes)
    return min(record[3], record[4], record[9]) / len(outcomes)


def test_the_end_of_a_loop_with_as_many_rounds_as_before_is_foreseen():
    assert wrong_branches([*[True] * 29, False] * 200) < 0.005
    assert wrong_branches(np.random.default_rng(0).random(6000) < 0.5) > 0.4


def test_the_last_cache_is_measured_with_as_many_bytes_as_a_call_goes_over(monkeypatch):
    sizes = {"L1": 32 << 10, "L2": 1 << 20, "L3": 32 << 20}
    monkeypatch.setattr(machine, "cache_sizes", lambda: sizes)
    assert machine.measured_spans(1)["L3"] == 16 << 20
    assert machine.measured_spans(1, 4 << 20)["L3"] == 4 << 20
    assert machine.measured_spans(2, 4 << 20)["L3"] == 2 << 20
    assert machine.measured_spans(1, 64 << 20)["L3"] == 16 << 20
    assert machine.measured_spans(1, 4 << 20)["memory"] == machine.measured_spans(1)["memory"]


def test_a_cause_takes_over_what_trying_its_advice_has_shown():
    causes = [
        {"name": "reduction order", "flags": {"fastmath": ["reassoc"]}, "factor": 5.0, "advice": "fastmath"},
        {"name": "column order", "flags": None, "factor": 3.0, "advice": "the other order"},
    ]
    tried = [
        {"change": "contiguous arrays", "flags": {}, "factor": 1.5},
        {"change": "fastmath={'reassoc'}", "flags": {"fastmath": ["reassoc"]}, "factor": 0.99},
    ]
    first, second = corrected(causes, tried)
    assert first["factor"] == 1
    assert "no quicker" in first["advice"]
    assert second == causes[1]
