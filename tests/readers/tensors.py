"""Safetensors files: checkpoints, and what can be imported."""

import hashlib
import io
import json
import struct
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from lenumba.engine.runs.checkpoint import Checkpoint

from .base import Rng
from .damage import damaged


def checkpoint_tensors(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {f"dense{k}.{leaf}": rng.random((3, k + 1), np.float32) for k in range(3) for leaf in ("kernel", "bias")}


def checkpoint_state(seed: int) -> dict[str, Any]:
    state = {"progress": {"epoch": seed}, "mean": [0.5], "deviation": [0.25], "class_names": ["a", "b"]}
    return state | {"image_shape": [2, 2, 1], "seed": seed, "data_sha256": None}


def checkpoint_seeds() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for seed in range(3):
            Checkpoint(Path(folder, "x"), checkpoint_tensors(seed), checkpoint_state(seed)).write()
            files.append(Path(folder, "x").read_bytes())
        return files


def safetensors_parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header and the data behind it, as the format's description has them."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join_safetensors(header: Any, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def says_tensors(content: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    header, data = safetensors_parts(content)
    kinds = {"F16": np.float16, "F32": np.float32, "F64": np.float64, "I64": np.int64, "I32": np.int32}
    kinds |= {"U8": np.uint8, "I8": np.int8, "U32": np.uint32, "I16": np.int16, "BOOL": np.bool_, "U16": np.uint16}
    kinds |= {"U64": np.uint64, "C64": np.complex64}
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        tensors[name] = np.frombuffer(data[first:last], kinds[entry["dtype"]]).reshape(entry["shape"])
    return tensors, metadata


def read_checkpoint(path: Path) -> tuple[Mapping[str, np.ndarray], Mapping[str, Any]]:
    found = Checkpoint.read(path)
    return found.tensors, found.state


def says_checkpoint(content: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The checksum, computed here as the format is documented, must be the one in the file."""
    tensors, metadata = says_tensors(content)
    digest = hashlib.sha256(metadata["state"].encode())
    for name in sorted(tensors):
        digest.update(f"{name}{tensors[name].shape}{tensors[name].dtype}".encode() + tensors[name].tobytes())
    assert digest.hexdigest() == metadata["sha256"]
    return tensors, json.loads(metadata["state"])


def says_content(content: bytes) -> Any:
    """What the import takes of a checkpoint, of a file with lenumba's facts, or of a foreign one."""
    if content[:2] == b"PK":
        return says_weights(content)
    tensors, metadata = says_tensors(content)
    if "state" in metadata:
        tensors, state = says_checkpoint(content)
        return tensors, state | {"std": state["deviation"]}
    return tensors, json.loads(metadata["lenumba"]) if "lenumba" in metadata else {}


def says_weights(content: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        arrays = {
            name.removesuffix(".npy"): np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False)
            for name in archive.namelist()
            if name != "class_names.npy"
        }
    facts = {name: arrays.pop(name).tolist() for name in ("mean", "std") if name in arrays}
    return arrays, facts


def informed_safetensors(rng: Rng, content: bytes) -> bytes:
    """Change a field of the header; half the time with a checksum that is right again."""
    if content[:2] == b"PK" or content[:1] == b"\x08":  # an archive, or ONNX
        return damaged(rng, [content])
    header, data = safetensors_parts(content)
    names = [name for name in header if name != "__metadata__"]
    name = names[rng.integers(len(names))]
    entry, metadata = header[name], header.get("__metadata__", {})
    junk = [None, [], {}, "x", -1, 2**64, 1e308, True, ["a"], "[" * 5000, {"a": {}}, [[]]]
    action = rng.integers(8)
    if action == 0:
        kinds = ("F16", "BF16", "F64", "I32", "U8", "F8_E4M3", "F8_E5M2", "F4", "BOOL", "C64", "X", "I64", "U32")
        entry["dtype"] = kinds[rng.integers(len(kinds))]
    elif action == 1:
        shapes = ([12], [2, 6], [0], [], [3, 2**62, 4], [-1], [1] * 70, [2**63, 2], [3, 1])
        entry["shape"] = shapes[rng.integers(len(shapes))]
    elif action == 2:
        entry["data_offsets"] = [int(rng.integers(0, len(data) + 2)) for _ in range(2)]
    elif action == 3:
        del header[name]
    elif action == 4:
        header["../" + name] = header.pop(name)
    elif action == 5:
        entry[list(entry)[rng.integers(len(entry))]] = junk[rng.integers(len(junk))]
    elif metadata:
        key = list(metadata)[rng.integers(len(metadata))]
        state = json.dumps(junk[rng.integers(len(junk))])
        if action == 7 and key == "state":
            fields = json.loads(metadata["state"])
            fields[list(fields)[rng.integers(len(fields))]] = junk[rng.integers(len(junk))]
            state = json.dumps(fields)
        metadata[key] = state
    if "sha256" in metadata and rng.random() < 0.5:
        try:
            tensors, _ = says_tensors(join_safetensors(header, data))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            return join_safetensors(header, data)
        digest = hashlib.sha256(metadata.get("state", metadata.get("lenumba", "")).encode())
        for other in sorted(tensors):
            digest.update(f"{other}{tensors[other].shape}{tensors[other].dtype}".encode() + tensors[other].tobytes())
        metadata["sha256"] = digest.hexdigest()
    return join_safetensors(header, data)


def hostile_safetensors() -> dict[str, bytes]:
    metadata = {"state": "[" * 100_000, "sha256": "0"}
    spaces = b" " * (20 << 20)
    return {
        "a header of 2⁶⁴ − 1": b"\xff" * 8,
        "a header of 20 MB": struct.pack("<Q", len(spaces)) + spaces,
        "a header of 20 MB of brackets": struct.pack("<Q", 20 << 20) + b"[" * (20 << 20),
        "nested state": join_safetensors({"__metadata__": metadata}, b""),
        "nested header": struct.pack("<Q", 100_000) + b"[" * 100_000,
        "a hundred thousand tensors": join_safetensors(
            {str(k): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for k in range(100_000)}, b""
        ),
        "all tensors are one": join_safetensors(
            {str(k): {"dtype": "F32", "shape": [1 << 20], "data_offsets": [0, 4 << 20]} for k in range(100)},
            bytes(4 << 20),
        ),
        "lone surrogate": join_safetensors({"__metadata__": {"state": "\ud800", "sha256": "\udfff"}}, b""),
        "empty": b"",
    }


def import_seeds() -> list[bytes]:
    tensors = checkpoint_tensors(1)
    text = json.dumps({"mean": [0.5], "std": [0.25], "class_names": ["a", "b"]})
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(f"{name}{tensors[name].shape}{tensors[name].dtype}".encode() + tensors[name].tobytes())
    archive = io.BytesIO()
    np.savez(archive, mean=np.array([0.5]), std=np.array([0.25]), class_names=np.array(["a", "b"]), **tensors)
    files = [save(tensors), save(tensors, {"lenumba": text, "sha256": digest.hexdigest()}), archive.getvalue()]
    # The beginning of an ONNX model: a protocol buffer, which the import must refuse, however it is damaged.
    onnx = b"\x08\x07\x12\x07lenumba\x1a\x050.1.0\x22\x00\x3a\x7e" + b"\x0a\x20\x0a\x06images\x12\x05conv1" * 8
    return [*files, onnx, checkpoint_seeds()[0]]
