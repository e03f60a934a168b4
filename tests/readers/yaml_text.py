"""Configurations in YAML."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.config.config import load_config
from lenumba.engine.config.yaml_file import load_yaml

from .base import Rng

WORDS = ["1e-3", "010", "0o10", "1:30", "no", "yes", "off", "~", "null", ".inf", "-.inf", ".nan", "1_000", "0x1F", "+1"]
WORDS += ["1.", ".5", "-0", "1e400", "9" * 30, "2001-01-01", "!!int 3", "&a b", "*a", "<<: *a", "<<: 1", "- - -", "? "]
WORDS += ["'", '"', "|", ">", "[", "]", "{", "}", ",", ": ", "#", "%YAML 1.1", "---", "...", "\t", "@", "`", "\\", "\0"]
WORDS += ["\ud7ff", "\ufeff", "\x85", "\u2028", "true", "True", "TRUE", "tRUE", "layers:", "batch_size: 64", "\r", "\n"]


def says_yaml(content: bytes) -> Any:
    """The nodes that ruamel's composer finds, scalars resolved here by the core schema's words."""
    return built(YAML(typ="safe", pure=True).compose(content.decode("utf-8-sig")))


def built(node: Any) -> Any:
    if node is None:
        return {}
    if isinstance(node.value, str):
        if node.style is not None:  # quoted, or a block
            return node.value
        words = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
        words |= dict.fromkeys(["", "~", "null", "Null", "NULL"])
        if node.value in words:
            return words[node.value]
        if any(letter in node.value for letter in "_ ") or not node.value.isascii():
            return node.value
        for kind in (int, float):
            try:
                number = kind(node.value)
            except ValueError:
                continue
            if node.value.lower().lstrip("+-") not in ("nan", "inf", "infinity"):
                return number
        if node.value[:2] in ("0o", "0x"):
            try:
                return int(node.value, 0)
            except ValueError:
                pass
        return node.value
    if node.id == "mapping":
        assert len({key.value for key, _ in node.value}) == len(node.value), "duplicate keys"
        return {key.value: built(value) for key, value in node.value}
    return [built(item) for item in node.value]


def informed_yaml(rng: Rng, content: bytes) -> bytes:
    """Change values, keys, indentation or whole lines."""
    lines = content.decode().split("\n")
    for _ in range(rng.integers(1, 4)):
        k = int(rng.integers(len(lines)))
        word = WORDS[rng.integers(len(WORDS))]
        key, colon, value = lines[k].partition(":")
        action = rng.integers(6)
        if action == 0 and colon:
            lines[k] = f"{key}: {word}"
        elif action == 1 and colon:
            lines[k] = f"{key}: {value.strip().replace(' ', word, 1)}{word}"
        elif action == 2:
            lines[k] = " " * int(rng.integers(4)) + lines[k]
        elif action == 3:
            lines.insert(k, lines[rng.integers(len(lines))])
        elif action == 4:
            lines[k] = word + lines[k]
        else:
            del lines[k]
        lines = lines or [""]
    return "\n".join(lines).encode(errors="surrogatepass")


def hostile_yaml() -> dict[str, bytes]:
    limit = 64 * 1024
    laughs = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{k}: &a{k} [{','.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 9)
    )
    long = {
        "flow list": "a: [" + "1," * 40_000,
        "empty pairs": "a: [" + ":," * 40_000,
        "pairs": "a: [" + "b: c," * 20_000,
        "keys": "".join(f"k{k}: 1\n" for k in range(20_000)),
        "keys without values": "{" + ",".join(f"a{k}" for k in range(20_000)),
        "dashes": "- " * 40_000,
        "dashes in lines": "a:\n" + "- 1\n" * 20_000,
        "deep within": "a: " + "[" * 30 + "[]," * 30_000,
        "explicit keys": "".join(f"? a{k}\n" for k in range(20_000)),
        "plain over lines": "a: " + "b\n " * 30_000,
        "quoted over lines": 'a: "' + "b\n " * 30_000,
        "escapes": 'a: "' + "\\x41" * 20_000,
        "comments": "#\n" * 40_000,
        "block": "a: |\n" + " b\n" * 30_000,
        "folded": "a: >\n" + " b\n\n" * 20_000,
        "blanks": "a: 1" + "\n" * 70_000,
        "spaces": "a: 1" + " " * 70_000,
        "a kernel": "network: {layers: [{type: conv, channels: 4, kernel_size: 5, kernel: [[[[" + "1," * 40_000,
        "layers": "network:\n  layers:\n" + "  - x\n" * 20_000,
        "unknown keys": "".join(f"{'x' * 55}{k}: 1\n" for k in range(2000)),
        "documents": "---\n" * 20_000,
        "2 000 brackets": "[" * 2000,
    }
    files = {name: text.encode()[:limit] for name, text in long.items()}
    return files | {
        "billions of laughs": "\n".join(laughs).encode(),
        "the limit and one": b"a: " + b"1" * (limit - 2),
        "100 MB": b"a: 1\n" * (20 << 20),
        "half a character": b"a: \xc3",
        "UTF-16": "a: 1".encode("utf-16"),
        "zeros": bytes(1000),
        "empty": b"",
    }


def read_yaml(path: Path) -> Any:
    """Read the plain data, and then the configuration, whose faults may have several lines."""
    data, _ = load_yaml(path, str(path))
    try:
        load_config(path)
    except ConfigError as error:
        if not all(line.startswith(f"{path}") for line in str(error).splitlines()):
            raise AssertionError(str(error)) from error
    return data
