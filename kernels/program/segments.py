"""The training loop of a program whose blocks wait for one another: batch norm needs sums over the whole batch.

The program falls into *segments* where all blocks of a batch must have come so far. Every worker takes blocks through
a segment, meets the others, and goes on with the next one; each block's memory stays until the batch is over. Shards
are those of :func:`lenumba.kernels.program.loop.train_loop`, and so are the order of their sum and the update.
"""

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.constants import (
    ARRIVED,
    CLAIMED,
    CLAIMED_NEXT,
    HALT,
    HYPER_COLUMNS,
    LANES,
    PHASE,
    PROGRESS,
    STOP,
    UPDATE,
    WAIT,
)
from lenumba.kernels.vector.parallel import (
    FLUSH_DENORMALS,
    atomic_add,
    atomic_load,
    atomic_store,
    barrier,
    get_float_mode,
    set_float_mode,
)
from lenumba.kernels.vector.simd import at


@kernel
def train_segments(
    run, train_block, update, SEGMENTS, GRADIENT_SIZE, UNIT, lap=None, CLOCK=0, add_shards=None, clip_gradient=None
):  # fmt: skip
    """Train as :func:`lenumba.kernels.program.loop.train_loop` does, each batch segment by segment.

    Two counters of claimed shards take turns: while workers claim from one, the first worker clears the other.
    """
    mode = get_float_mode()
    set_float_mode(mode | FLUSH_DENORMALS)
    control, gradients, results, totals = run.control, run.gradients, run.results, run.totals
    vectors = GRADIENT_SIZE // LANES
    slice_from, slice_to = vectors * run.worker // run.workers, vectors * (run.worker + 1) // run.workers
    claimed, cleared = CLAIMED, CLAIMED_NEXT
    for batch in range(run.first_batch, run.last_batch):
        start = batch * run.batch_size
        images_here = min(run.batch_size, run.count - start)
        blocks = (images_here + UNIT - 1) // UNIT
        shards = min(blocks, run.max_shards)
        for segment in range(SEGMENTS):
            shard = atomic_add(control, claimed, 1)
            while shard < shards:
                for block in range(blocks * shard // shards, blocks * (shard + 1) // shards):
                    train_block(
                        run, at(run.blocks, block * run.stride), segment, block, images_here,
                        start + block * UNIT, min(UNIT, images_here - block * UNIT),
                        at(gradients, shard * GRADIENT_SIZE), at(results, 8 * shard), 1.0 / images_here,
                    )  # fmt: skip
                shard = atomic_add(control, claimed, 1)
            barrier(control, ARRIVED, PHASE, run.workers)
            if lap is not None:
                lap(run.work, CLOCK, WAIT)
            if run.worker == 0:
                atomic_store(control, claimed, 0)
            claimed, cleared = cleared, claimed
        row, summands, squares = at(run.hyper, batch * HYPER_COLUMNS), shards, at(results, 8 * run.max_shards)
        if add_shards is not None:
            add_shards(gradients, squares, shards, vectors, slice_from, slice_to)
            barrier(control, ARRIVED, PHASE, run.workers)
            clip_gradient(gradients, squares, row, vectors, slice_from, slice_to)
            summands = 1
        update(run.theta, run.state, gradients, run.decay, row, summands, vectors, slice_from, slice_to)
        if lap is not None:
            lap(run.work, CLOCK, UPDATE)
        if run.worker == 0:
            for shard in range(shards):
                totals[0] += results[8 * shard]
                totals[1] += results[8 * shard + 1]
                results[8 * shard] = 0.0
                results[8 * shard + 1] = 0.0
            atomic_store(control, PROGRESS, batch + 1)
            finite = totals[0] - totals[0] == 0.0
            atomic_store(control, HALT, 1 if atomic_load(control, STOP) != 0 or not finite else 0)
        barrier(control, ARRIVED, PHASE, run.workers)
        if atomic_load(control, HALT) != 0:
            break
    set_float_mode(mode)
