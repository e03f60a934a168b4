"""JSON that people or other programs may have changed: checked for its kinds before it is used."""

from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from lenumba.engine.common.errors import DataError

# Of a TypedDict: an integer is also a number, but nothing else is converted; keys that it does not name are let pass.
LOOSE = ConfigDict(strict=True, extra="allow")


def checked(adapter: TypeAdapter, values: Any, where: object, remedy: str) -> Any:
    """Return JSON values that are of the adapter's kind.

    Raises
    ------
    DataError
        Where they are not: the first such place, in one line.
    """
    try:
        found = adapter.validate_python(values)
        return {key: found[key] for key in values} if isinstance(found, dict) else found  # in the file's order
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))[:60]
        place = f"{place if place.isprintable() else ascii(place)}: " if place else ""
        wanted = first["msg"].removeprefix("Input should be ").lower().replace("field required", "a value, found none")
        raise DataError(f"{where}: {place}expected {wanted}; {remedy}") from None
