"""What every part of a configuration has in common: it takes nothing that it does not know or could not keep."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

SMALLEST = 2.0**-126  # of float32 without denormals, which count as 0


LARGEST = (2 - 2.0**-23) * 2.0**127


BELOW_ONE = 1 - 2.0**-24


def numbers(values: Any) -> Iterator[float]:
    """Yield the float numbers in nested tuples."""
    for value in values if isinstance(values, tuple) else ():
        yield from [value] if isinstance(value, float) else numbers(value)


class Strictly(BaseModel):
    """Base of every part of a configuration: frozen, without unknown keys, conversions, NaN or infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _in_float32(cls, value: Any) -> Any:
        """Refuse what the program would take for another number: infinity, 0, or 1 where less than 1 is asked for."""
        if isinstance(value, tuple) and (found := [number for number in numbers(value) if abs(number) > LARGEST]):
            raise ValueError(f"expected float32, up to {LARGEST:.2g}, found {found[0]:g}")
        if isinstance(value, float) and value:
            if not SMALLEST <= abs(value) <= LARGEST:
                raise ValueError(f"expected a float32, 0 or from {SMALLEST:.2g} to {LARGEST:.2g}, found {value:g}")
            if BELOW_ONE < value < 1:
                raise ValueError(f"expected a float32, 1 or at most {BELOW_ONE:.8f}, found {value!r}")
        return value
