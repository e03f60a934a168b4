"""The decorator of the plain-loop twins. A twin runs compiled, or as the Python it is, where compiling does not pay.

Importing this module does not import Numba.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

_INTERPRETED: ContextVar[bool] = ContextVar("interpreted", default=False)


class Twin:
    """A plain-loop twin, called as the function that it is made of (`py_func`)."""

    def __init__(self, function: Callable) -> None:
        functools.update_wrapper(self, function)
        self.py_func = function

    @functools.cached_property
    def compiled(self) -> Any:
        """The function compiled by Numba, for each combination of argument types when it first comes."""
        from lenumba.kernels.compile.jit import compile_twin

        return compile_twin(self.py_func)

    @property
    def _numba_type_(self) -> Any:
        """Numba's type of a twin: compiled twins call one another, and take one another as arguments."""
        return self.compiled._numba_type_

    def __call__(self, *arguments: Any) -> Any:
        """Run the twin, compiled unless :func:`interpreted` says otherwise."""
        return (self.py_func if _INTERPRETED.get() else self.compiled)(*arguments)


def reference(function: Callable) -> Twin:
    """Make a function a plain-loop twin, in exact IEEE arithmetic of whatever dtype it is given.

    No flag lets LLVM fuse or reorder, so float64 results are those of the same loops in Python.
    NUMBA_BOUNDSCHECK=1 checks every index.
    """
    return Twin(function)


@contextlib.contextmanager
def interpreted(wanted: bool = True) -> Iterator[None]:
    """Run the twins as plain Python within this context: about a microsecond a multiply-add, from the first one on."""
    token = _INTERPRETED.set(wanted)
    try:
        yield
    finally:
        _INTERPRETED.reset(token)
