"""A convolution in plain loops in place of tiles, for profiles to find."""

from dataclasses import replace

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.program.plan import call


@kernel
def plain_conv_forward(
    x,
    w,
    b,
    y,
    function,
    C,
    X_ROW,
    X_PLANE,
    KH,
    KW,
    SH,
    SW,
    OH,
    Y_ROW,
    Y_PLANE,
    BIAS,
    M_FROM,
    M_TO,
    MAPS,
    J_FROM,
    J_TO,
    COLS,
    UNIT,
):
    # The activation is left out: the profile looks at the time, not at the result.
    # Sizes, but LLVM must not know them, or it unrolls the taps and vectorises the lanes.
    nothing = int(b[M_FROM] * 1e-30)
    height, width = KH + nothing, KW + nothing
    for i in range(OH + nothing):
        for m in range(M_FROM, M_TO + nothing):
            for j in range(J_FROM, J_TO + nothing):
                for lane in range(16 + nothing):
                    total = b[m]
                    for c in range(C + nothing):
                        for u in range(height):
                            for v in range(width):
                                pixel = c * X_PLANE + (i * SH + u) * X_ROW + j * SW + v
                                total += w[((m * C + c) * KH + u) * KW + v] * x[pixel * 16 + lane]
                    y[(m * Y_PLANE + i * Y_ROW + j) * 16 + lane] = total


def plant(plan):
    """Replace the first layer's forward kernel."""
    number = next(number for number, step in enumerate(plan.steps) if step.name == "forward_conv1")
    steps = list(plan.steps)
    steps[number] = replace(
        steps[number], calls=[call("plain_conv_forward", **each.arguments) for each in steps[number].calls]
    )
    return replace(plan, steps=steps)
