"""Functions that Numba made NumPy's ufuncs of: their kernel in a loop like NumPy's, so that it can be looked into."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba.core.dispatcher import Dispatcher
from numba.np.ufunc.dufunc import DUFunc
from numba.np.ufunc.gufunc import GUFunc

from lenumba.kernels.compile.jit import jitted

PADDING = 8  # elements behind each row: no kernel knows NumPy's steps in advance, so no array is contiguous here
LOOP = "<NumPy's loop>"


def is_ufunc(value: object) -> bool:
    """Return whether a value is a function with Numba's vectorize or guvectorize on it."""
    return isinstance(value, DUFunc | GUFunc)


def is_compiled(value: object) -> bool:
    """Return whether a value is a function with a decorator of Numba's on it that compiles for the CPU."""
    return isinstance(value, Dispatcher) or is_ufunc(value)


def python_function(function: Any) -> Callable[..., Any]:
    """Return the Python function that Numba compiled."""
    whole: Any = function
    if isinstance(function, GUFunc):
        return whole.gufunc_builder.py_func
    return whole._dispatcher.py_func if isinstance(function, DUFunc) else whole.py_func


def looped(function: Any, values: Sequence[Any], pipeline: type) -> tuple[Any, tuple[Any, ...]]:
    """Return a function with the ufunc's kernel in a loop, compiled by `pipeline`, and its arguments."""
    kernel = jitted(python_function(function), error_model="numpy", pipeline_class=pipeline)
    if isinstance(function, DUFunc):
        inputs = [np.ravel(array) for array in np.broadcast_arrays(*values[: function.nin])]
        outputs = [np.ravel(np.empty_like(function(*values[: function.nin])))]
        names = [f"a{k}" for k in range(len(inputs))]
        body = f"        out[i] = kernel({', '.join(f'{name}[i]' for name in names)})"
        names.append("out")
    else:
        inputs, outputs = rows_of(function, values)
        names = [f"a{k}" for k in range(len(inputs) + len(outputs))]
        cores = [*function.gufunc_builder.sin, *function.gufunc_builder.sout]
        scalars = [k < len(inputs) and not core for k, core in enumerate(cores)]
        given = [
            f"{name}[i]" if core or (scalar and not takes_array(function, k)) else f"{name}[i, :1]"
            for k, (name, core, scalar) in enumerate(zip(names, cores, scalars, strict=True))
        ]
        body = f"        kernel({', '.join(given)})"
    name = python_function(function).__name__
    text = f"def {name}({', '.join(names)}):\n    for i in range(a0.shape[0]):\n{body}\n"
    space: dict[str, Any] = {"kernel": kernel}
    exec(compile(text, LOOP, "exec"), space)
    return jitted(space[name]), (*inputs, *outputs)


def takes_array(function: Any, k: int) -> bool:
    """Return whether a gufunc's kernel takes an array for an argument without dimensions of its own."""
    signatures = getattr(function.gufunc_builder, "_sigs", None) or []
    return bool(signatures) and type(signatures[0][k]).__name__ == "Array"


def rows_of(function: Any, values: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Return a gufunc's inputs and outputs with all that it loops over as the first dimension."""
    builder = function.gufunc_builder
    count = len(builder.sin)
    results = function(*values)
    outputs = list(values[count:]) or list(results if isinstance(results, tuple) else (results,))
    cores = [*map(len, builder.sin), *map(len, builder.sout)]
    every = [np.asarray(value) for value in [*values[:count], *outputs]]
    outer = np.broadcast_shapes(*(a.shape[: a.ndim - core] for a, core in zip(every, cores, strict=True)))
    rows = []
    for k, (array, core) in enumerate(zip(every, cores, strict=True)):
        own = array.shape[array.ndim - core :]
        flat = np.broadcast_to(array, outer + own).reshape(-1, *own)
        if core == 0 and not (k >= count or takes_array(function, k)):
            rows.append(np.ascontiguousarray(flat))
            continue
        flat = flat[:, None] if core == 0 else flat
        memory = np.zeros((*flat.shape[:-1], flat.shape[-1] + PADDING), flat.dtype)
        memory[..., : flat.shape[-1]] = flat
        rows.append(memory[..., : flat.shape[-1]])
    return rows[:count], rows[count:]
