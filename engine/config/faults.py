"""Say in one short line each what is wrong with a configuration."""

import json
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

MAX_FAULTS = 20
ABSENT = object()


def nearest(name: object, names: Iterable[str]) -> str:
    """Return ``" (did you mean '…'?)"`` for the name most like the given one, ``""`` if none is like it."""
    close = get_close_matches(str(name)[:64].lower(), list(names), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def list_faults(error: ValidationError, data: Any, schema: dict[str, Any]) -> list[tuple[str, str]]:
    """Turn a validation error into ``(dotted path, message)`` pairs, one for each fault.

    Parameters
    ----------
    error
        What pydantic raised for the data.
    data
        The plain data that were validated.
    schema
        The model's JSON Schema: the wording of what is expected comes from it.
    """
    faults: dict[str, str] = {}
    for item in error.errors(include_url=False):
        for path, message in _list_faults(item, data, schema):
            faults.setdefault(path, message)  # a union reports each of its members, one line is enough
        if len(faults) >= MAX_FAULTS:
            break
    # A list whose items are faulty also counts as too short.
    return [fault for fault in faults.items() if not any(path.startswith(f"{fault[0]}.") for path in faults)]


def _list_faults(item: Any, data: Any, schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    kind = item["type"]
    if kind == "faults":
        yield from item["ctx"]["faults"]
        return
    parent: dict[str, Any]
    if kind.startswith("union_tag"):
        # All layer classes share the fault, so it belongs to the key that chooses between them.
        parts, _, node = _walk(item["loc"], schema)
        known = list(_option(node, "discriminator", schema)["discriminator"]["mapping"])
        parts, node, parent = [*parts, "type"], {"enum": known}, {}
    else:
        parts, parent, node = _walk(item["loc"], schema)
    if parts and isinstance(parts[-1], int) and _lookup(data, parts) is ABSENT:
        parts, node = parts[:-1], parent  # a list that is too short
    path, found = ".".join(map(str, parts)), _lookup(data, parts)
    if kind.startswith("union_tag") and isinstance(short := _lookup(data, parts[:-1]), str):
        found = short  # a layer that is given by its type alone
    if kind == "extra_forbidden":
        known = parent.get("properties", {})
        yield path, f"unknown key{nearest(parts[-1], known) or '; known keys: ' + ', '.join(known)}"
    elif kind == "value_error":
        yield path, str(item["ctx"]["error"])
    elif found is ABSENT:
        yield path, f"missing; expected {describe(node, schema)}"
    else:
        hint = nearest(found, node["enum"]) if isinstance(found, str) and "enum" in node else ""
        yield path, f"expected {describe(node, schema)}, found {show(found)}{hint}"


def _walk(loc: Iterable[int | str], schema: dict[str, Any]) -> tuple[list[int | str], dict, dict]:
    """Follow pydantic's location through the schema, leaving out the names of union members."""
    path: list[int | str] = []
    parent: dict[str, Any] = {}
    node, member = schema, False
    for part in loc:
        if isinstance(part, int):
            array = _option(node, "type", schema, "array")
            items = array.get("prefixItems") or []
            parent, node = array, items[part] if part < len(items) else array.get("items", {})
        elif tagged := _option(node, "discriminator", schema):
            node = _resolve({"$ref": tagged["discriminator"]["mapping"][part]}, schema)
            continue
        elif target := _option(node, "properties", schema):
            if "anyOf" in node and part not in target["properties"] and not member:
                member = True  # the name of the union's member comes first
                continue
            member = False
            parent, node = target, _resolve(target["properties"].get(part, {}), schema)
        else:
            break
        path.append(part)
    return path, parent, node


def _resolve(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    return schema["$defs"][node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else node


def _option(node: dict[str, Any], key: str, schema: dict[str, Any], value: Any = None) -> dict[str, Any]:
    """Return the member of a union that has the key (with the value), an empty one if none has."""
    for option in (_resolve(option, schema) for option in node.get("anyOf", [node])):
        if key in option and value in (None, option[key]):
            return option
    return {}


def _lookup(data: Any, path: Iterable[int | str]) -> Any:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return ABSENT
    return data


def describe(node: dict[str, Any], schema: dict[str, Any]) -> str:
    """Say in words what a part of a JSON Schema accepts."""
    node = _resolve(node, schema)
    if _option(node, "discriminator", schema):
        return "a layer, such as 'type: flatten'"
    if "anyOf" in node:
        return " or ".join(describe(option, schema) for option in node["anyOf"])
    if "const" in node or "enum" in node:
        names = [node["const"]] if "const" in node else node["enum"]
        return ("one of " if len(names) > 1 else "") + ", ".join(names)
    kind = node.get("type")
    if kind in ("integer", "number"):
        return ("an integer" if kind == "integer" else "a number") + _range(node)
    if kind == "array" and "prefixItems" in node:
        return f"a list of {len(node['prefixItems'])}, each {describe(node['prefixItems'][0], schema)}"
    if kind == "array":
        return f"a list of {node.get('minItems', 0)} to {node['maxItems']} items" if "maxItems" in node else "a list"
    if "pattern" in node:
        return f"a name of letters, digits and _, at most {node['maxLength']} characters"
    if kind == "string":
        return f"a string of at most {node['maxLength']} characters" if "maxLength" in node else "a string"
    return {"boolean": "true or false", "null": "null"}.get(str(kind), "indented 'key: value' lines")


def _range(node: dict[str, Any]) -> str:
    if {"minimum", "maximum"} <= node.keys():
        return f" from {node['minimum']} to {node['maximum']}"
    words = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = " and ".join(f"{sign} {node[key]:g}" for key, sign in words.items() if key in node)
    return f" {bounds}" if bounds else ""


def show(value: Any) -> str:
    """Show a value that was found as short text without line breaks."""
    if isinstance(value, dict):
        return "'key: value' lines"
    if isinstance(value, list | tuple) and len(value) > 4:
        return f"a list of {len(value)} items"
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = f"a Python {type(value).__name__}"
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= 60 else text[:57] + "…"
