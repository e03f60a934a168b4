"""Convolution in groups, whose channels see nothing of one another: the kernels of each group in turn.

x[GROUPS · C, ·, ·], w[GROUPS · M, C, KH, KW] and y[GROUPS · M, OH, OW] lie as :mod:`lenumba.kernels.layers.conv` says;
the ranges of maps and channels are those of one group.
"""

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.constants import LANES
from lenumba.kernels.layers.conv import conv_forward, conv_input_gradient, conv_weight_gradient
from lenumba.kernels.vector.simd import at
from lenumba.kernels.vector.tile import add_lane_sums, window_fma, zero_tile


@kernel
def grouped_conv_forward(
    x, w, b, y, function, GROUPS, C, M, X_ROW, X_PLANE, KH, KW, SH, SW, OH, Y_ROW, Y_PLANE, BIAS,
    M_FROM, M_TO, MAPS, J_FROM, J_TO, COLS, UNIT,
):  # fmt: skip
    """Y = function(b + w ⊗ x) of every group (overwrites y)."""
    for group in range(GROUPS):
        conv_forward(
            at(x, group * C * X_PLANE * UNIT), at(w, group * M * C * KH * KW), at(b, group * M * BIAS),
            at(y, group * M * Y_PLANE * UNIT), function, C, X_ROW, X_PLANE, KH, KW, SH, SW, OH, Y_ROW, Y_PLANE, BIAS,
            M_FROM, M_TO, MAPS, J_FROM, J_TO, COLS, UNIT,
        )  # fmt: skip


@kernel
def grouped_conv_weight_gradient(
    x, dy, dw, GROUPS, C, M, X_ROW, X_PLANE, KH, KW, SH, SW, OH, OW, Y_ROW, Y_PLANE,
    M_FROM, M_TO, MAPS, V_FROM, V_TO, COLS, UNIT,
):  # fmt: skip
    """Dw of every group (accumulates)."""
    for group in range(GROUPS):
        conv_weight_gradient(
            at(x, group * C * X_PLANE * LANES), at(dy, group * M * Y_PLANE * LANES), at(dw, group * M * C * KH * KW),
            C, X_ROW, X_PLANE, KH, KW, SH, SW, OH, OW, Y_ROW, Y_PLANE, M_FROM, M_TO, MAPS, V_FROM, V_TO, COLS, UNIT,
        )  # fmt: skip


@kernel
def depthwise_weight_gradient(x, dy, dw, GROUPS, M, X_ROW, X_PLANE, KH, KW, SH, SW, OH, OW, Y_ROW, Y_PLANE):
    """Dw of groups of one channel (accumulates): the sums of a whole window stay in registers."""
    for m in range(GROUPS * M):
        tile = zero_tile(KH, KW)
        for i in range(OH):
            for j in range(OW):
                pixel = (m // M * X_PLANE + i * SH * X_ROW + j * SW) * LANES
                tile = window_fma(tile, dy, (m * Y_PLANE + i * Y_ROW + j) * LANES, x, pixel, X_ROW * LANES, KH, KW)
        add_lane_sums(dw, m * KH * KW, KW, tile, KH, KW)


@kernel
def grouped_conv_input_gradient(
    dy, w, dx, GROUPS, C, X_ROW, X_PLANE, PH, KH, KW, SH, SW, M, OH, Y_ROW, Y_PLANE,
    C_FROM, C_TO, MAPS, J_FROM, J_TO, COLS, WIDTH, FIRST,
):  # fmt: skip
    """Dx of every group (overwrites dx where FIRST, else accumulates)."""
    for group in range(GROUPS):
        conv_input_gradient(
            at(dy, group * M * Y_PLANE * LANES), at(w, group * M * C * KH * KW), at(dx, group * C * X_PLANE * LANES),
            C, X_ROW, X_PLANE, PH, KH, KW, SH, SW, M, OH, Y_ROW, Y_PLANE,
            C_FROM, C_TO, MAPS, J_FROM, J_TO, COLS, WIDTH, FIRST,
        )  # fmt: skip
