"""Safetensors files: reading them, and the checksums of what they hold."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lenumba.engine.common.errors import one_line

MAX_HEADER = 1 << 20  # bytes: names and shapes of ten thousand tensors


def checksum(tensors: Mapping[str, np.ndarray], state: str) -> str:
    """Return the SHA-256 over names, shapes and bytes of the tensors and the state's text."""
    digest = hashlib.sha256(state.encode())
    for name in sorted(tensors):
        digest.update(f"{name}{tensors[name].shape}{tensors[name].dtype}".encode())
        digest.update(np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()


def weights_sha256(parameters: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 over a network's parameters: equal for bit-identical weights."""
    return checksum(parameters, "")


def read_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return a safetensors file's tensors and metadata.

    Raises
    ------
    FileNotFoundError
        Where there is none.
    ValueError
        With one line, where it is damaged, no safetensors file, or has tensors of a type that NumPy does not know.
    """
    from safetensors import safe_open

    try:
        with path.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
        if MAX_HEADER < length <= path.stat().st_size:
            raise ValueError(f"a header of {length} bytes, more than {MAX_HEADER}")
        with safe_open(path, "numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118 (no dict)
    except FileNotFoundError:
        raise
    except Exception as error:  # damaged files make safetensors and NumPy raise nearly anything
        raise ValueError(one_line(error)) from None
