"""JSON that people or other programs may have changed: checked for its kinds before it is used."""

import math
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from lenumba.engine.common.errors import DataError

# Of a TypedDict: an integer is also a number, but nothing else is converted; keys that it does not name are let pass.
LOOSE = ConfigDict(strict=True, extra="allow")

#: Of a number anywhere in a file: nothing that is measured comes near it, and sums, ranges and axes of such numbers fit
#: float64, with which those beyond would overflow.
LARGEST = 1e100

Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=2**53)]


def checked(adapter: TypeAdapter, values: Any, where: object, remedy: str) -> Any:
    """Return JSON values that are of the adapter's kind.

    Raises
    ------
    DataError
        Where they are not: the first such place, in one line.
    """
    if found := too_large(values):
        path, value = found
        raise DataError(f"{where}: {place_of(path)}expected at most {LARGEST:g}, found {str(value)[:20]}; {remedy}")
    try:
        found = adapter.validate_python(values)
        return {key: found[key] for key in values} if isinstance(found, dict) else found  # in the file's order
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        wanted = first["msg"].removeprefix("Input should be ").lower().replace("field required", "a value, found none")
        raise DataError(f"{where}: {place_of(first['loc'])}expected {wanted}; {remedy}") from None


def too_large(values: Any) -> tuple[tuple[Any, ...], float] | None:
    """Return the keys that lead to a finite number beyond LARGEST in JSON values, and the number; None without one."""
    left: list[tuple[tuple[Any, ...], Any]] = [((), values)]
    while left:
        path, value = left.pop()
        if isinstance(value, dict):
            left += [((*path, key), item) for key, item in value.items()]
        elif isinstance(value, list):
            left += [((*path, index), item) for index, item in enumerate(value)]
        elif isinstance(value, int | float) and LARGEST < abs(value) < math.inf:
            return path, value
    return None


def place_of(path: tuple[Any, ...]) -> str:
    """Return keys as a dotted path and a colon; nothing for the whole."""
    place = ".".join(map(str, path))[:60]
    return f"{place if place.isprintable() else ascii(place)}: " if place else ""


def without_nan(value: Any) -> Any:
    """Return plain values with None for NaN and infinities, which JSON has not."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
