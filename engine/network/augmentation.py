"""Augmentation: the configuration's section, and what the kernel that distorts training images needs."""

import math
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from lenumba.engine.network.layers import Strictly
from lenumba.kernels.constants import LANES
from lenumba.kernels.program.plan import Call, Place, Tensor, call

AMOUNTS = LANES  # floats, of which the numbers of Augment come first, in their order, and then its flips


class Augment(Strictly):
    """Random distortions of the training images, new ones in every epoch; 0 or null is off. Never for evaluation."""

    shift: float = Field(0.0, ge=0, le=1024, description="Shift by up to so many pixels, down or up, left or right.")
    rotation: float = Field(0.0, ge=0, le=180, description="Rotate by up to so many degrees, either way.")
    scale: float = Field(0.0, ge=0, le=0.9, description="Scale by a factor from 1 − scale to 1 + scale.")
    shear: float = Field(0.0, ge=0, le=2, description="Shear: shift rows by up to so many pixels a row.")
    elastic: float = Field(
        0.0, ge=0, le=64, description="Elastic distortion (Simard et al. 2003): standard deviation of a pixel's shift."
    )
    erasing: float = Field(0.0, ge=0, le=1, description="Probability to erase a random rectangle: it becomes black.")
    erasing_size: float = Field(
        0.5, gt=0, le=1, description="Largest side of the erased rectangle, as a share of the image's."
    )
    noise: float = Field(0.0, ge=0, le=1, description="Standard deviation of noise, as a share of white.")
    brightness: float = Field(
        0.0, ge=0, le=1, description="Multiply pixels by a factor from 1 − brightness to 1 + brightness."
    )
    elastic_sigma: int = Field(
        4, ge=2, le=64, description="elastic: over how many pixels the random displacements are smoothed."
    )
    flip: Literal["horizontal", "vertical", "both"] | None = Field(
        None,
        description="Mirror an image with a probability of 1/2: 'horizontal' left and right, 'vertical' top and "
        "bottom, 'both' each by itself. For what may lie either way round, unlike digits and letters.",
    )

    @property
    def active(self) -> bool:
        """Whether any distortion is on."""
        names = ("shift", "rotation", "scale", "shear", "elastic", "erasing", "noise", "brightness", "flip")
        return any(getattr(self, name) for name in names)

    def amounts(self) -> list[float]:
        """Return the AMOUNTS numbers that the kernel reads: the fields in order, angles in radians, flips as 1 or 0."""
        fields = {**self.model_dump(exclude={"elastic_sigma", "flip"}), "rotation": math.radians(self.rotation)}
        values = [*fields.values(), *(float(self.flip in (way, "both")) for way in ("vertical", "horizontal"))]
        return [*values, *[0.0] * (AMOUNTS - len(values))]


@dataclass(frozen=True)
class Distortion:
    """A section's kernel call for images of one shape.

    Without elastic distortion one mesh cell is enough: an affine map is linear from edge to edge.
    """

    augment: Augment
    shape: tuple[int, int, int]

    @property
    def frozen(self) -> dict[str, int]:
        """The shapes that the kernel freezes."""
        channels, height, width = self.shape
        cell = self.augment.elastic_sigma if self.augment.elastic else max(height, width, 2)
        return {
            "C": channels,
            "H": height,
            "W": width,
            "CELL": cell,
            "ROWS": -(-height // cell) + 1,
            "COLS": -(-width // cell) + 1,
            "ROW": -(-(width + 3) // 8) * 8,
            "WITH_ELASTIC": bool(self.augment.elastic),
            "WITH_ERASING": bool(self.augment.erasing),
            "WITH_NOISE": bool(self.augment.noise),
        }

    @property
    def size(self) -> int:
        """Floats of memory that a worker needs for it: the amounts, the mesh, its displacements, the source."""
        s = self.frozen
        draws = s["WITH_ELASTIC"] * (s["ROWS"] + 4) * (s["COLS"] + 4)
        source = LANES * (s["H"] + 2) * s["ROW"] // 2
        return AMOUNTS + 2 * LANES * (s["ROWS"] * s["COLS"] + draws) + source

    def call(self, memory: Place, x: Tensor, label: Place, valid: Place) -> Call:
        """Return the call that fills x; `memory` is of `size` and begins with the amounts."""
        places = {"x": x.interior, "label": label, "valid": valid, "amounts": memory, "scratch": memory.part(AMOUNTS)}
        return call("augment", self.frozen | {"X_ROW": x.row, "X_PLANE": x.plane}, **places)
