"""A fixture for pytest that fails where a Numba function became slower: ``pytest_plugins = ["lenumba.gate"]``."""

from collections.abc import Callable

import pytest

from lenumba.engine.profile.gate import TOLERANCE, compare_function, gate_text
from lenumba.engine.profile.subject import find_subject


@pytest.fixture
def no_slower() -> Callable[..., None]:
    """Return what compares a function with an earlier version, as ``lenumba profile FUNCTION --compare`` does.

    ``no_slower("mine.py:function", than="main", arguments="np.ones(1000)")`` fails where the interval of the ratio lies
    beyond the tolerance. `than` is a Git revision, another function, or a profile's file with its commit.
    """

    def check(
        function: str,
        than: str,
        arguments: str | None = None,
        setup: str | None = None,
        tolerance: float = TOLERANCE,
        seconds: float = 4.0,
    ) -> None:
        found = compare_function(find_subject(function, arguments, setup), None, than, seconds, tolerance)
        assert not found["slower"], gate_text(found, than)

    return check
