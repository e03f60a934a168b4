"""Packing: from 16 uint8 images of the data set to one block of float32 vectors."""

from lenumba.kernels.jit import kernel
from lenumba.kernels.simd import LANES


@kernel
def pack(images, labels, order, first, count, scale, shift, x, label, valid, C, H, W, X_ROW, X_PLANE):
    """Fill the lanes with images number order[first], order[first + 1], … (overwrites x, label, valid).

    images[N, C, H, W] are uint8 and become pixel · scale[c] + shift[c]. Where the block is not full (count < 16),
    the last image is repeated and `valid` is 0: it contributes no loss and no gradient.
    """
    for lane in range(LANES):
        sample = order[first + min(lane, count - 1)]
        label[lane] = labels[sample]
        valid[lane] = 1.0 if lane < count else 0.0
        pixel = sample * (C * H * W)
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    x[(c * X_PLANE + i * X_ROW + j) * LANES + lane] = images[pixel] * scale[c] + shift[c]
                    pixel += 1
