"""Read YAML as plain data: a strict subset of YAML 1.2, with the line of every key and item."""

import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)

from lenumba.engine.common.errors import ConfigError

MAX_BYTES = 128 * 1024
MAX_NESTING = 32
MAX_KEY = 64  # characters; with the two above, it bounds the memory of the dotted paths

# The core schema of YAML 1.2.2, section 10.3.2.
NULL = re.compile(r"|~|null|Null|NULL")
BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
INT = re.compile(r"[-+]?[0-9]+")
PREFIXED_INT = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./-]*")


def load_yaml(content: Path | str | bytes, source: str) -> tuple[dict[str, Any], dict[str, int]]:
    """Read one YAML mapping.

    Parameters
    ----------
    content
        A file's path, or the YAML itself as text or bytes.
    source
        What error messages call it.

    Returns
    -------
    data : dict
        The mapping as plain dicts, lists, strings, ints, floats, bools and None.
    lines : dict
        The line of every key and item by its dotted path, such as ``network.layers.0.channels``.

    Raises
    ------
    ConfigError
        If the file cannot be read, is too large or nested too deeply, or is not in the subset: one
        document of UTF-8 without tags, anchors, aliases, merge keys, directives, duplicate keys, NaN or
        infinity.
    """
    reader = _Reader(_text(content, source), source)
    data = reader.document()
    if not isinstance(data, dict):
        found = "a list" if isinstance(data, list) else "a single value"
        raise ConfigError(f"{source}:1: expected 'key: value' lines, found {found}")
    return data, reader.lines


def check_levels(data: Any, source: str) -> None:
    """Raise ConfigError where plain data are nested more deeply than YAML may be, which could not be read again."""
    level = [data] if isinstance(data, dict | list | tuple) else []
    for _ in range(MAX_NESTING):
        inside = (node.values() if isinstance(node, dict) else node for node in level)
        level = [item for items in inside for item in items if isinstance(item, dict | list | tuple)]
    if level:
        raise ConfigError(f"{source}: expected at most {MAX_NESTING} levels of nesting, found more")


def copied(data: Any, source: str) -> Any:
    """Return a copy of plain data that may come from anywhere; raise as :func:`check_levels` does."""
    check_levels(data, source)
    return deepcopy(data)


def load_value(text: str, source: str) -> Any:
    """Read one YAML value, such as ``1e-3``, ``no`` or ``[2, 2]``, under the rules of :func:`load_yaml`.

    Raises
    ------
    ConfigError
        If the text is not in the subset.
    """
    return _Reader(_text(text, source), source, numbered=False).document()


def dump_yaml(data: dict[str, Any], indent: str = "") -> str:
    """Write plain data as YAML that :func:`load_yaml` reads back as equal data."""
    lines = []
    for key, value in data.items():
        name = _flow(key)
        if isinstance(value, dict):
            lines.append(f"{indent}{name}:\n{dump_yaml(value, indent + '  ')}")
        elif isinstance(value, list | tuple) and value and all(isinstance(item, dict) for item in value):
            lines.append(f"{indent}{name}:\n")
            for item in value:
                block = dump_yaml(item, indent + "    ")
                lines.append(f"{indent}  - {block[len(indent) + 4 :]}")
        else:
            lines.append(f"{indent}{name}: {_flow(value)}\n")
    return "".join(lines)


def _flow(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if not isinstance(value, str):
        return repr(value)
    if PLAIN.fullmatch(value) and not any(kind.fullmatch(value) for kind in (NULL, BOOL, FLOAT, NOT_FINITE)):
        return value
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in value) + '"'


def _text(content: Path | str | bytes, source: str) -> str:
    if isinstance(content, Path):
        try:
            with content.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise ConfigError(f"{source}: cannot read the file: {error.strerror}") from None
        except ValueError as error:  # a path that no file system takes, such as one with a zero byte
            raise ConfigError(f"{source}: cannot read the file: {error}") from None
    if len(content if isinstance(content, bytes) else content.encode(errors="replace")) > MAX_BYTES:
        raise ConfigError(f"{source}: expected at most {MAX_BYTES // 1024} KiB, found more")
    if isinstance(content, str):
        return content
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"found byte 0x{content[error.start]:02x}"
        raise ConfigError(f"{source}:{line}: expected UTF-8, {found}; save the file as UTF-8") from None


class _Reader:
    """Build plain data from the parser's events.

    The parser works on demand, so refusing an event also bounds the time: nothing after it is parsed.
    """

    def __init__(self, text: str, source: str, numbered: bool = True) -> None:
        self.source = source
        self.numbered = numbered
        self.lines: dict[str, int] = {}
        self.events = self._parse(text)

    def document(self) -> Any:
        next(self.events)  # the stream's start
        start = next(self.events)
        if isinstance(start, StreamEndEvent):
            self._fail(1, "expected YAML, found nothing")
        if isinstance(start, DocumentStartEvent) and (start.version or start.tags):
            self._fail(self._line(start), "directives (%YAML, %TAG) are not supported; remove the line")
        value = self._value(next(self.events), "", 0)
        next(self.events)  # the document's end
        after = next(self.events)
        if not isinstance(after, StreamEndEvent):
            self._fail(self._line(after), "expected one document, found a second; remove it")
        return value

    def _parse(self, text: str) -> Iterator[Event]:
        try:
            yield from YAML(typ="safe", pure=True).parse(text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            problem = error.problem or error.context or "it cannot be parsed"
            self._fail(mark.line + 1 if mark else 1, f"not valid YAML: {' '.join(str(problem).split())}")
        except YAMLError as error:  # the reader's: a character that YAML forbids
            line = text.count("\n", 0, getattr(error, "position", None) or 0) + 1
            self._fail(line, f"not valid YAML: a character that cannot be printed; {_ESCAPE}")
        except (ValueError, OverflowError, IndexError, AssertionError, AttributeError, TypeError):
            # Some malformed escapes and directives surface as the parser's own slips.
            self._fail(1, "not valid YAML: a malformed escape or directive")

    def _value(self, event: Event, path: str, depth: int) -> Any:
        self._check(event)
        if isinstance(event, ScalarEvent):
            return self._scalar(event)
        if depth == MAX_NESTING:
            self._fail(self._line(event), f"expected at most {MAX_NESTING} levels of nesting, found more")
        if isinstance(event, MappingStartEvent):
            return self._mapping(path, depth)
        items: list[Any] = []
        while not isinstance(item := next(self.events), SequenceEndEvent):
            child = f"{path}.{len(items)}" if path else str(len(items))
            self.lines[child] = self._line(item)
            items.append(self._value(item, child, depth + 1))
        return items

    def _mapping(self, path: str, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        first: dict[str, int] = {}
        while not isinstance(event := next(self.events), MappingEndEvent):
            line = self._line(event)
            self._check(event)
            key = self._scalar(event) if isinstance(event, ScalarEvent) else None
            if not isinstance(key, str):
                found = event.value if isinstance(event, ScalarEvent) else "a list or a mapping"
                self._fail(line, f"expected a name as the key, found {str(found)[:40] or 'none'}")
            if key == "<<" and isinstance(event, ScalarEvent) and event.style is None:
                self._fail(line, "merge keys (<<) are not supported; write the keys out")
            if len(key) > MAX_KEY or not key.isprintable():
                self._fail(line, f"expected a key of at most {MAX_KEY} printable characters, found {key[:40]!r}")
            if key in mapping:
                self._fail(line, f"duplicate key {key[:40]!r}, first on line {first[key]}; remove one")
            child = f"{path}.{key}" if path else key
            self.lines[child] = first[key] = line
            mapping[key] = self._value(next(self.events), child, depth + 1)
        return mapping

    def _check(self, event: Event) -> None:
        assert isinstance(event, NodeEvent)
        if isinstance(event, AliasEvent) or event.anchor is not None:
            self._fail(self._line(event), "anchors (&) and aliases (*) are not supported; repeat the value")
        if isinstance(event, ScalarEvent | CollectionStartEvent) and event.tag is not None:
            self._fail(self._line(event), "tags (!) are not supported; remove it")

    def _scalar(self, event: ScalarEvent) -> Any:
        text, line = event.value, self._line(event)
        if event.style is not None:
            if any("\ud800" <= c <= "\udfff" for c in text):
                self._fail(line, f"half of a surrogate pair is no character; {_ESCAPE}")
            return text
        if NULL.fullmatch(text):
            return None
        if BOOL.fullmatch(text):
            return text[0] in "tT"
        if INT.fullmatch(text) or PREFIXED_INT.fullmatch(text):
            base = {"0o": 8, "0x": 16}.get(text[:2], 10)
            # The cap on digits comes first: Python refuses to convert thousands of them.
            if len(text) > 64 or not -(2**63) <= (number := int(text, base)) < 2**63:
                self._fail(line, f"expected an integer of at most 64 bits, found {text[:40]}")
            return number
        if NOT_FINITE.fullmatch(text):
            self._fail(line, f"expected a finite number, found {text}")
        if FLOAT.fullmatch(text):
            if abs(real := float(text)) == float("inf"):
                self._fail(line, f"expected a finite number, found {text[:40]}")
            return real
        return text

    def _line(self, event: Event) -> int:
        return int(event.start_mark.line) + 1

    def _fail(self, line: int, message: str) -> NoReturn:
        raise ConfigError(f"{self.source}:{line}: {message}" if self.numbered else f"{self.source}: {message}")


_ESCAPE = 'write it as "\\u…" or leave it out'


def as_trained(data: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return what `path` holds; that of a run or a study with what an earlier version did, where it had no choice."""
    network, written = data.get("network"), any(path.with_name(name).exists() for name in ("run.json", "study.json"))
    return data | {"network": {"convolution": "direct"} | network} if written and isinstance(network, dict) else data
