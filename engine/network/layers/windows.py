"""Windows: which values of its input an output is made of, and how equations write that."""

Span = tuple[int, int]  # the first, and the one behind the last
Box = tuple[Span, Span, Span]  # of channels, rows and columns; rows and columns outside the map lie in the padding


def window_at(
    place: tuple[int, int, int],
    channels: Span,
    size: tuple[int, int],
    stride: tuple[int, int],
    margins: tuple[int, int, int, int],
) -> Box:
    """Return the window that a sliding layer reads for the output at a place."""
    top, left = place[1] * stride[0] - margins[0], place[2] * stride[1] - margins[1]
    return (channels, (top, top + size[0]), (left, left + size[1]))


def tap(start: str, offset: str, stride: int, padding: int, end: int | None = None) -> str:
    """Write where a tap of a window lies: i+u, 2i+u−1; with the kernel's last index `end`, rotated: i+4−u."""
    shift = (end or 0) - padding
    text = f"{stride if stride > 1 else ''}{start}"
    if end is not None:
        return text + (f"{'+' if shift > 0 else '−'}{abs(shift)}" if shift else "") + f"−{offset}"
    return f"{text}+{offset}" + (f"−{padding}" if padding else "")
