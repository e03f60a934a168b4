"""Checkpoints: safetensors files with a checksum over tensors and state, written so that nothing gets lost."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from lenumba.engine.common.errors import DataError, one_line
from lenumba.engine.common.files import durable

FORMAT_VERSION = 1
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


def save_checkpoint(path: Path, tensors: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> None:
    """Write tensors and a JSON-able state; the file before stays intact until the new one is durable.

    Raises
    ------
    DataError
        Where the disk is full or fails.
    """
    from safetensors.numpy import save_file

    text = json.dumps({"format_version": FORMAT_VERSION, **state}, sort_keys=True)
    copies = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    try:
        with durable(path) as temporary:
            save_file(copies, temporary, {"state": text, "sha256": checksum(copies, text)})
    except Exception as error:
        if isinstance(error, OSError) or type(error).__name__ == "SafetensorError":
            raise DataError(
                f"{path}: cannot write the checkpoint ({error}); this or the one before is intact"
            ) from None
        raise


class State(dict[str, Any]):
    """A checkpoint's state: asking for what it does not have is a DataError."""

    def __init__(self, path: Path, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.path = path

    def __missing__(self, key: str) -> NoReturn:
        raise DataError(f"{self.path}: expected {key!r} in the checkpoint's state, found none; use another checkpoint")


def load_checkpoint(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the tensors and the state of a checkpoint.

    Raises
    ------
    DataError
        Where the file is missing, damaged, of a newer format or no checkpoint of lenumba; also on asking for
        something that the state does not have.
    """
    try:
        tensors, metadata = read_tensors(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such checkpoint; is this a run folder?") from None
    except ValueError as error:
        raise DataError(f"{path}: damaged or no safetensors file ({error}); use another checkpoint") from None
    return tensors, read_state(path, tensors, metadata)


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


def read_state(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> State:
    """Return the state in a checkpoint's metadata, after verifying the checksum over it and the tensors."""
    if (text := metadata.get("state")) is None:
        raise DataError(f"{path}: a safetensors file, but no checkpoint of lenumba; use one from a run folder")
    state = None
    with contextlib.suppress(ValueError, RecursionError):
        state = json.loads(text)
    # Before the checksum, whose definition may be another one in a newer format.
    if isinstance(state, dict) and (written := state.get("format_version")) != FORMAT_VERSION:
        found = ascii(written)[:40]
        raise DataError(f"{path}: written by format {found}, this version reads {FORMAT_VERSION}; update lenumba")
    if not isinstance(state, dict) or checksum(tensors, text) != metadata.get("sha256"):
        raise DataError(f"{path}: damaged (its SHA-256 does not match); use another checkpoint")
    return State(path, state)
