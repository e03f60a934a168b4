"""The table of the kinds of operations: of which pieces of C each is made, in float32 and in int8."""

from dataclasses import dataclass
from pathlib import Path

TEXTS = Path(__file__).with_name("c")


@dataclass(frozen=True)
class Kind:
    """A kind of operation.

    Attributes
    ----------
    parts
        The files in ``c`` that hold its C function and what that calls; ``c/float`` and ``c/int8`` hold those that
        differ. A file that only one of both has is left out in the other.
    fields
        What its C function reads of ``struct layer``, beyond shapes: ``window``, ``pool``, ``groups``, ``limits``,
        ``counts_padding``.
    """

    parts: tuple[str, ...]
    fields: tuple[str, ...] = ()


KINDS = {
    "conv": Kind(("range", "rounding", "finish", "pool", "dot", "conv"), ("window", "pool", "groups", "limits")),
    "depthwise": Kind(("range", "rounding", "finish", "pool", "depthwise"), ("window", "pool", "limits")),
    "dense": Kind(("rounding", "finish", "dot", "dense"), ("limits",)),
    "add": Kind(("rounding", "add"), ("limits",)),
    "average_pool": Kind(("range", "mean", "average_pool"), ("window", "counts_padding")),
    "max_pool": Kind(("range", "max_pool"), ("window",)),
    "flatten": Kind(("flatten",)),
    "activation": Kind(("activation",)),
    "limit": Kind(("activation",)),
}


def read_part(name: str, numbers: str) -> str:
    """Return a piece of C for ``float`` or ``int8``; empty where these have none of the name."""
    own, shared = TEXTS / numbers / f"{name}.c", TEXTS / f"{name}.c"
    path = own if own.is_file() else shared
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def fill(text: str, **values: object) -> str:
    """Return a text with ``@name@`` replaced by values."""
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text
