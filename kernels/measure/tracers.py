"""What an instrumented function reports to: simulated caches, branch predictors, and owners of cache lines.

They are programs as networks are: compiled once, and cached. Caches are set-associative, and the least recently used
line leaves; the predictors are a local one of 8 bits of history, a global one of 12 (Yeh and Patt, 1992; McFarling,
1993), and one that expects a turn after as many rounds as the last time.
"""

from collections.abc import Mapping

import numpy as np

from lenumba.kernels.compile.native import Native, Source, get_program
from lenumba.kernels.constants import LINE

BUDGET = 40_000_000  # events, after which nothing more is noted
WAYS = {"L1": 8, "L2": 8, "L3": 16}
# Words of an access's record. Addresses step by STRIDE mostly, by OUTER from one round of a loop inside to the next.
COUNT, LAST, STRIDE, VOTES, SAME, NEAR, LOW, HIGH, MISS_L1, MISS_L2, MISS_L3, FORWARDED = range(12)
START, OUTER, OUTER_VOTES, OUTER_SAME, STORE, DISTANCE = range(12, 18)
WORDS, HEADER, STORES, SEEN = 18, 8, 4096, 512  # SEEN: accesses that a stored value is remembered for
BRANCH_WORDS, HISTORY, LONGEST = 10, 4096, 64  # LONGEST: rounds of a loop whose end is foreseen
SHARE_WORDS, LINES = 2, 4096

ACCESS = '''"""Every access to memory: strides, caches, values that were stored shortly before."""

from lenumba.kernels.compile.jit import kernel


@kernel
def run(state, number, address, store):
    if state[0] <= 0:
        return
    state[0] -= 1
    state[1] += 1
    r = {records} + number * {words}
    step = address - state[r + {last}]
    state[r] += 1
    state[r + {last}] = address
    if state[r] == 1:
        state[r + {low}] = state[r + {high}] = state[r + {start}] = address
    elif step == state[r + {stride}]:
        state[r + {votes}] += 1
        state[r + {same}] += 1
    else:
        outer = address - state[r + {start}]
        if state[r] > 2:
            if outer == state[r + {outer}]:
                state[r + {outer_votes}] += 1
                state[r + {outer_same}] += 1
            elif state[r + {outer_votes}] <= 0:
                state[r + {outer}] = outer
                state[r + {outer_votes}] = 1
            else:
                state[r + {outer_votes}] -= 1
            state[r + {start}] = address
        if state[r + {votes}] <= 0:
            state[r + {stride}] = step
            state[r + {votes}] = 1
        else:
            state[r + {votes}] -= 1
    if -64 < step < 64:
        state[r + {near}] += 1
    if address < state[r + {low}]:
        state[r + {low}] = address
    if address > state[r + {high}]:
        state[r + {high}] = address
    f = {forward} + 3 * ((address >> 2) & {stores_mask})
    if store:
        state[f] = address
        state[f + 1] = state[1]
        state[f + 2] = number
    elif state[f] == address and state[1] - state[f + 1] < {seen}:
        state[r + {forwarded}] += 1
        state[r + {distance}] += state[1] - state[f + 1]
        state[r + {store_word}] = state[f + 2] + 1
    line = address >> 6
    if state[{first_set} + {first_ways} * (line & {first_mask})] == line:
        return
{levels}'''
LEVEL = """\
    base = {base} + {ways} * (line & {mask})
    found = {ways} - 1
    hit = 0
    for k in range({ways}):
        if state[base + k] == line:
            found = k
            hit = 1
            break
    for k in range(found, 0, -1):
        state[base + k] = state[base + k - 1]
    state[base] = line
    if hit:
        return
    state[r + {miss}] += 1
"""
BRANCH = '''"""Every conditional branch: how often three simple predictors are wrong about it."""

from lenumba.kernels.compile.jit import kernel


@kernel
def run(state, number, taken):
    if state[0] <= 0:
        return
    state[0] -= 1
    r = {records} + number * {words}
    state[r] += 1
    state[r + 1] += taken
    local = state[r + 2]
    a = {tables} + ((local ^ (number * 613)) & {mask})
    b = {tables} + {mask} + 1 + ((state[1] ^ (number * 167)) & {mask})
    if (state[a] >= 2) != (taken != 0):
        state[r + 3] += 1
    if (state[b] >= 2) != (taken != 0):
        state[r + 4] += 1
    run = state[r + 5]
    turns = run >= state[r + 7 + state[r + 6]]
    if turns != (taken != state[r + 6]):
        state[r + 9] += 1
    if taken != state[r + 6]:
        state[r + 7 + state[r + 6]] = run if run < {longest} else {mask} * {mask}
        state[r + 5] = 0
        state[r + 6] = taken
    state[r + 5] += 1
    if taken:
        state[a] = min(3, state[a] + 1)
        state[b] = min(3, state[b] + 1)
    else:
        state[a] = max(0, state[a] - 1)
        state[b] = max(0, state[b] - 1)
    state[r + 2] = ((local << 1) | taken) & 255
    state[1] = ((state[1] << 1) | taken) & {mask}
'''
SHARING = '''"""Every store of several threads: whether another one writes into the same line, too."""

from lenumba.kernels.compile.jit import kernel


@kernel
def run(state, number, address, thread):
    if state[0] <= 0:
        return
    r = {records} + number * {words}
    state[r] += 1
    line = address >> 6
    t = {table} + 5 * (line & {mask})
    if state[t] != line:
        state[t] = line
        state[t + 1] = thread
        state[t + 2] = 1
        state[t + 3] = 0
        state[t + 4] = 0
    elif state[t + 1] == thread:
        state[t + 2] += 1
    elif state[t + 3] == 0 or state[t + 3] == thread:
        state[t + 3] = thread
        state[t + 4] += 1
    if state[t + 2] > 16 and state[t + 4] > 16:
        state[r + 1] += 1
'''


def sets_of(size: int, ways: int) -> int:
    """Return how many sets a cache has: a power of two, as near to its size as that comes."""
    return 1 << max(4, round(np.log2(size / LINE / ways)))


def access_tracer(sizes: Mapping[str, int], count: int) -> tuple[Native, np.ndarray]:
    """Return the tracer of accesses and its state for so many of them, int64; records begin at HEADER."""
    levels, text = {name: size for name, size in sizes.items() if name in WAYS}, ""
    count = 64 * -(-max(count, 1) // 64)  # few programs to cache
    records, forward = HEADER, HEADER + WORDS * count
    base = first = forward + 3 * STORES
    misses = {"L1": MISS_L1, "L2": MISS_L2, "L3": MISS_L3}
    for name, size in levels.items():
        mask = sets_of(size, WAYS[name]) - 1
        text += LEVEL.format(base=base, ways=WAYS[name], mask=mask, miss=misses[name])
        base += WAYS[name] * (mask + 1)
    source = ACCESS.format(
        records=records, words=WORDS, last=LAST, stride=STRIDE, votes=VOTES, same=SAME, near=NEAR, low=LOW, high=HIGH,
        start=START, outer=OUTER, outer_votes=OUTER_VOTES, outer_same=OUTER_SAME, forwarded=FORWARDED, store_word=STORE,
        distance=DISTANCE,
        forward=forward, stores_mask=STORES - 1, seen=SEEN, levels=text, first_set=first, first_ways=WAYS["L1"],
        first_mask=sets_of(levels["L1"], WAYS["L1"]) - 1,
    )  # fmt: skip
    state = np.zeros(base, np.int64)
    state[first:] = -1
    state[0] = BUDGET
    return get_program(Source("trace-access", source, "run", ["i64*", "i64", "i64", "i64"])), state


def branch_tracer(count: int) -> tuple[Native, np.ndarray]:
    """Return the tracer of branches and its state; records of ten words begin at HEADER.

    They are count, taken, history, the local and the global predictor's errors; then the present run of equal outcomes,
    the outcome, how long such runs were, for both, and the errors of who expects that again.
    """
    count = 64 * -(-max(count, 1) // 64)
    tables = HEADER + BRANCH_WORDS * count
    source = BRANCH.format(records=HEADER, words=BRANCH_WORDS, tables=tables, mask=HISTORY - 1, longest=LONGEST)
    state = np.ones(tables + 2 * HISTORY, np.int64)
    state[:tables] = 0
    state[0] = BUDGET
    return get_program(Source("trace-branch", source, "run", ["i64*", "i64", "i64"])), state


def sharing_tracer(count: int) -> tuple[Native, np.ndarray]:
    """Return the tracer of several threads' stores; records of (count, into lines of other threads) begin at HEADER."""
    count = 64 * -(-max(count, 1) // 64)
    table = HEADER + SHARE_WORDS * count
    source = SHARING.format(records=HEADER, words=SHARE_WORDS, table=table, mask=LINES - 1)
    state = np.zeros(table + 5 * LINES, np.int64)
    state[0] = 1
    return get_program(Source("trace-sharing", source, "run", ["i64*", "i64", "i64", "i64"])), state
