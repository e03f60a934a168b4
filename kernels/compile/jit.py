"""The one JIT decorator, its flags, and compilation to machine code.

Everything that imports Numba lies behind this module and the kernels themselves; a program that is in the
cache already (:mod:`lenumba.kernels.compile.native`) runs without importing any of them.
"""

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of settings that it cannot read, with tracebacks: they do not apply here
        from numba import njit, types
        from numba.core import config as numba_config
        from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
        from numba.core.compiler_lock import global_compiler_lock
        from numba.core.registry import cpu_target
except Exception as error:  # a damaged .numba_config.yaml, or NumPy of a version that it does not know
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    raise OSError(f"Numba cannot be imported ({reason}); mend its configuration or install it again") from error

config: Any = numba_config

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
    return jitted(function, **FLAGS)


def jitted(function: Callable, **options: Any) -> Callable:
    """Return `function` under Numba's njit, also where NUMBA_DISABLE_JIT is set."""
    before, config.DISABLE_JIT = config.DISABLE_JIT, 0
    try:
        return njit(**options)(function)
    finally:
        config.DISABLE_JIT = before


@contextlib.contextmanager
def own_options(cpu: str, features: str, entry: str) -> Iterator[None]:
    """Compile `entry` meanwhile for this CPU and as Numba does by default, whatever its settings ask for.

    The settings (NUMBA_… in the environment, .numba_config.yaml) are for functions of the user's own: NUMBA_OPT=0
    changes the bits of results, and the cache's key knows nothing of any.
    """
    with global_compiler_lock:
        config.reload_config()  # Numba does it whenever it compiles, which is for nothing while the settings stay
        settings = dict(vars(config))
        context = cpu_target.target_context
        codegen = context._internal_codegen
        try:
            config._env_reloader.process_environ({"NUMBA_NUM_THREADS": config.NUMBA_NUM_THREADS})
            config.CPU_NAME, config.CPU_FEATURES = cpu, features
            context._internal_codegen = own_codegen()
            own_codegen().entry = entry
            yield
        finally:
            context._internal_codegen = codegen
            vars(config).update(settings)


class Library(JITCodeLibrary):
    """The code of a kernel and of all that it calls; optimised where it is the whole program's, and nowhere before.

    Numba optimises what each kernel calls together with it, and so the innermost ones once for every level above them,
    and makes machine code of each. Once for all takes half the time, and gives the same bits at the same speed.
    """

    _codegen: "Codegen"

    @property
    def whole(self) -> bool:
        """Whether it is the whole program's."""
        return self.name == self._codegen.entry

    def _optimize_final_module(self) -> None:
        if self._codegen.apart or self.whole:
            super()._optimize_final_module()

    def _finalize_final_module(self) -> None:
        self._codegen.runs = self.whole
        super()._finalize_final_module()

    def _finalize_specific(self) -> None:
        if self.whole:
            super()._finalize_specific()


class Codegen(JITCPUCodegen):
    """A code generator for programs whose outermost function is called `entry`.

    Where all functions are to be seen `apart`, as a profile does, each is optimised by itself, too. None but the
    outermost `runs`, and not even that one here: what runs is the object file.
    """

    _library_class = Library
    entry, apart, runs = "", False, False

    def _add_module(self, module: Any) -> None:
        if self.runs:
            super()._add_module(module)

    def set_env(self, env_name: str, env: Any) -> None:
        """Do nothing: no program has Python objects."""


@functools.cache
def own_codegen() -> Codegen:
    """Return a code generator for :func:`own_options`: Numba's first one keeps the settings that it was made with."""
    return Codegen("lenumba")


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Have the code of every function optimised by itself, too."""
    own_codegen().apart = True
    try:
        yield
    finally:
        own_codegen().apart = False


def compile_twin(function: Callable) -> Callable:
    """Compile a plain-loop twin as :func:`lenumba.kernels.reference.twin.reference` promises."""
    return jitted(function, error_model="numpy", fastmath=False)


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
