"""The loops around a network's program: batches, blocks and shards, shared among threads.

Every thread (worker) runs the same call. A batch is cut into *shards*, runs of consecutive blocks that share one
gradient buffer; their number depends on the batch alone, and the shards' gradients are summed in order, so the
result does not depend on which worker took which shard. Each worker begins with a run of shards of its own, which its
core's caches still have from the segment before, the last one first. Then it takes what others have not come to, if
they have begun: for one that is late all would have to wait in any case. A block is UNIT images: 16, or one where
batches are small.

A batch norm needs sums over the whole batch. There the program falls into *segments*: every worker takes blocks
through one, meets the others when all blocks have come so far, and goes on with the next. Each block then has memory of
its own, which stays until the batch is over; where there is one segment alone, a worker's memory serves all its blocks.

Where several machines train together, each takes a run of the shards and updates a part of the parameters. What they
have in common after each step, :func:`exchange` brings from one to the other: sums and order are those of one machine.
"""

from lenumba.kernels.compile.jit import kernel
from lenumba.kernels.constants import (
    ARRIVED,
    CLAIMED,
    CLAIMS,
    CLAIMS_SIZE,
    GRADIENTS,
    HALT,
    HYPER_COLUMNS,
    LANES,
    PHASE,
    PROGRESS,
    SQUARES,
    STOP,
    SUMS,
    UPDATE,
    WAIT,
    WEIGHTS,
)
from lenumba.kernels.vector.parallel import (
    FLUSH_DENORMALS,
    atomic_add,
    atomic_load,
    atomic_store,
    barrier,
    call_back,
    get_float_mode,
    set_float_mode,
)
from lenumba.kernels.vector.simd import at


@kernel
def exchange(run, stage, batch, segment):
    """Let the machines exchange what they have, once all workers of this one are here; do nothing where it is alone.

    Return to the first worker whether any machine is to stop.
    """
    told = 0
    if run.machines > 1:
        barrier(run.control, ARRIVED, PHASE, run.workers)
        if run.worker == 0:
            told = call_back(run.exchange, stage, batch, segment)
        barrier(run.control, ARRIVED, PHASE, run.workers)
    return told


@kernel
def train_loop(
    run, train_block, update, SEGMENTS, GRADIENT_SIZE, UNIT, lap=None, CLOCK=0, add_shards=None, clip_gradient=None
):  # fmt: skip
    """Train on a part of an epoch, or until STOP is set or the loss is not finite.

    `run` is a :class:`lenumba.kernels.program.arguments.Run`. totals[0] and totals[1] accumulate the summed loss and
    the right answers, in batch order. control[PROGRESS] is the number of batches done. A profiled program gives `lap`,
    the reading of its clock. To clip gradients, a program gives `add_shards` and `clip_gradient`.

    Each worker's shards have two counters, which take turns: while all claim by one, its worker clears the other.
    """
    mode = get_float_mode()
    set_float_mode(mode | FLUSH_DENORMALS)
    control, gradients, results, totals = run.control, run.gradients, run.results, run.totals
    vectors = GRADIENT_SIZE // LANES
    low, high = vectors * run.machine // run.machines, vectors * (run.machine + 1) // run.machines
    slice_from = low + (high - low) * run.worker // run.workers
    slice_to = low + (high - low) * (run.worker + 1) // run.workers
    claimed, cleared = CLAIMS, CLAIMS + CLAIMS_SIZE // 2
    for batch in range(run.first_batch, run.last_batch):
        start = batch * run.batch_size
        images_here = min(run.batch_size, run.count - start)
        blocks = (images_here + UNIT - 1) // UNIT
        shards = min(blocks, run.max_shards)
        first_shard = (shards * run.machine + run.machines - 1) // run.machines
        last_shard = (shards * (run.machine + 1) + run.machines - 1) // run.machines
        for segment in range(SEGMENTS):
            for turn in range(run.workers):
                owner = (run.worker + turn) % run.workers
                begin = first_shard + (last_shard - first_shard) * owner // run.workers
                end = first_shard + (last_shard - first_shard) * (owner + 1) // run.workers
                begun = turn == 0 or atomic_load(control, claimed + CLAIMS_SIZE * owner) > 0
                number = atomic_add(control, claimed + CLAIMS_SIZE * owner, 1) if begun else end
                while number < end - begin:
                    shard = end - 1 - number if segment % 2 else begin + number
                    for block in range(blocks * shard // shards, blocks * (shard + 1) // shards):
                        train_block(
                            run, at(run.blocks, block * run.stride) if SEGMENTS > 1 else run.work, segment,
                            block, images_here, start + block * UNIT, min(UNIT, images_here - block * UNIT),
                            at(gradients, shard * GRADIENT_SIZE), at(results, 8 * shard), 1.0 / images_here,
                        )  # fmt: skip
                    number = atomic_add(control, claimed + CLAIMS_SIZE * owner, 1)
            barrier(control, ARRIVED, PHASE, run.workers)
            if lap is not None:
                lap(run.work, CLOCK, WAIT)
            atomic_store(control, claimed + CLAIMS_SIZE * run.worker, 0)
            claimed, cleared = cleared, claimed
            if segment < SEGMENTS - 1:
                exchange(run, SUMS, batch, segment + 1)
        stops = exchange(run, GRADIENTS, batch, 0)
        row, summands, squares = at(run.hyper, batch * HYPER_COLUMNS), shards, at(results, 8 * run.max_shards)
        if add_shards is not None:
            add_shards(gradients, squares, shards, vectors, slice_from, slice_to)
            barrier(control, ARRIVED, PHASE, run.workers)
            exchange(run, SQUARES, batch, 0)
            clip_gradient(gradients, squares, row, vectors, slice_from, slice_to)
            summands = 1
        update(run.theta, run.state, gradients, run.decay, row, summands, vectors, slice_from, slice_to)
        if lap is not None:
            lap(run.work, CLOCK, UPDATE)
        exchange(run, WEIGHTS, batch, 0)
        if run.worker == 0:
            for shard in range(shards):
                totals[0] += results[8 * shard]
                totals[1] += results[8 * shard + 1]
                results[8 * shard] = 0.0
                results[8 * shard + 1] = 0.0
            atomic_store(control, PROGRESS, batch + 1)
            finite = totals[0] - totals[0] == 0.0
            if run.machines == 1:
                stops = atomic_load(control, STOP)
            atomic_store(control, HALT, 1 if stops != 0 or not finite else 0)
        barrier(control, ARRIVED, PHASE, run.workers)
        if atomic_load(control, HALT) != 0:
            break
    set_float_mode(mode)


@kernel
def evaluate_loop(run, evaluate_block, WIDTH, OUTPUT, UNIT):
    """Run the network forward on images order[0 … count − 1], until STOP is set.

    results[block, 2] gets each block's summed loss and right answers; outputs[count, WIDTH] the network's outputs
    (probabilities), which a block leaves at number OUTPUT of `work`.
    """
    mode = get_float_mode()
    set_float_mode(mode | FLUSH_DENORMALS)
    control, outputs, work = run.control, run.outputs, run.work
    blocks = (run.count + UNIT - 1) // UNIT
    block = atomic_add(control, CLAIMED, 1)
    while block < blocks and atomic_load(control, STOP) == 0:
        first = block * UNIT
        images_here = min(UNIT, run.count - first)
        results = at(run.results, 2 * block)
        results[0] = 0.0
        results[1] = 0.0
        evaluate_block(run, work, first, images_here, run.theta, results, 1.0)
        for lane in range(images_here):
            for k in range(WIDTH):
                outputs[(first + lane) * WIDTH + k] = work[OUTPUT + k * LANES + lane]
        block = atomic_add(control, CLAIMED, 1)
    set_float_mode(mode)
