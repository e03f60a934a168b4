"""The one JIT decorator, its flags, and compilation to machine code.

Everything that imports Numba lies behind this module and the kernels themselves; a program that is in the
cache already (:mod:`lenumba.kernels.compile.native`) runs without importing any of them.
"""

from collections.abc import Callable, Sequence
from typing import Any

from numba import njit, types

# 'contract' fuses a·b + c, 'nsz' lets −0 be 0. Never 'nnan' (divergence is found by looking for NaN) and never
# 'reassoc' (the order of a sum decides its bits). Division by zero gives Inf: kernels raise nothing.
FLAGS: dict[str, Any] = {
    "fastmath": {"contract", "nsz"},
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}

TYPES = {
    "f32*": types.CPointer(types.float32),
    "f64*": types.CPointer(types.float64),
    "i32*": types.CPointer(types.int32),
    "i64*": types.CPointer(types.int64),
    "u8*": types.CPointer(types.uint8),
    "i64": types.intp,
    "f32": types.float32,
    "f64": types.float64,
}


def kernel(function: Callable) -> Callable:
    """Compile `function` in nopython mode with the project's flags.

    Kernels call one another freely; whole numbers that are written out in a call are compile-time constants
    inside the callee (Numba types them as literals), which is how shapes and tile sizes get frozen.
    """
    return njit(**FLAGS)(function)


def compile_twin(function: Callable) -> Callable:
    """Compile a plain-loop twin as :func:`lenumba.kernels.reference.twin.reference` promises."""
    return njit(error_model="numpy", fastmath=False)(function)


def compile_kernel(function: Any, signature: Sequence[str]) -> Any:
    """Type and lower a kernel for the argument types in `signature` (keys of :data:`TYPES`); return its overload."""
    argument_types = tuple(TYPES[name] for name in signature)
    function.compile(argument_types)
    return function.overloads[argument_types]


def object_code(overload: Any) -> tuple[str, bytes]:
    """Return a compiled kernel's symbol and the relocatable object that holds it and all that it calls."""
    library, symbol = overload.library, overload.fndesc.llvm_func_name
    library.get_pointer_to_function(symbol)  # makes LLVM generate the code
    return symbol, library._get_compiled_object()
