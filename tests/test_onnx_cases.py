"""ONNX's own test cases: every one that these layers can express, compiled and in plain loops.

The list of cases, and why each of the others is left out, is frozen in data/onnx_cases.json.
"""

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pytest
from onnx_cases import Compiled, Skip, list_cases, read_case, run_plain

FROZEN = json.loads((Path(__file__).parent / "data" / "onnx_cases.json").read_text(encoding="utf-8"))
RUN, SKIPPED = FROZEN["run"], FROZEN["skipped"]


@pytest.fixture(scope="module", autouse=True)
def installed():
    try:
        found = version("onnx")
    except PackageNotFoundError:
        pytest.skip("onnx is not installed")
    if not found.startswith(f"{FROZEN['onnx']}."):
        pytest.skip(f"the list of cases is that of onnx {FROZEN['onnx']}, found {found}")


@pytest.fixture(scope="module")
def cases(installed):
    return {name: read_case(name) for name in RUN}


@pytest.fixture(scope="module")
def compiled(cases):
    return Compiled(cases)


def test_list_is_complete():
    assert sorted([*RUN, *SKIPPED]) == sorted(list_cases())


@pytest.mark.parametrize("name", SKIPPED)
def test_case_is_skipped_for_the_stated_reason(name):
    with pytest.raises(Skip, match=f"^{SKIPPED[name]}$"):
        read_case(name)


@pytest.mark.parametrize("name", RUN)
def test_case(name, cases, compiled):
    # ONNX's own tolerance for its cases: rtol 1e-3, atol 1e-7; float32 here is held to PyTorch's, which is narrower.
    case = cases[name]
    np.testing.assert_allclose(run_plain(case), case.y, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(compiled.run(name, case), case.y, rtol=1.3e-6, atol=1e-5)
