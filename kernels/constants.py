"""Numbers that the kernels are compiled with and the engine fills in: written once, and read without Numba."""

LANES = 16  # images in a block, floats in a vector
LINE = 64  # bytes of a cache line

# Slots of int64 `control`, of CONTROL_SIZE numbers and, to train, CLAIMS_SIZE more for each worker: how many of its
# shards are claimed, twice. Each that several threads write has a cache line (8 numbers) of its own.
STOP, ARRIVED, PHASE, CLAIMED, HALT, PROGRESS, CLAIMS = 0, 8, 16, 24, 32, 40, 48
CONTROL_SIZE, CLAIMS_SIZE = 48, 16

TRAIN, EVALUATE, SERVE = 1, 0, 2  # purposes of a call of a program

# Slots of int64 `company` [COMPANY_SIZE], by which a thread that evaluates meets others that wait inside the program.
ADDRESS, NUMBER, TURN, JOINED, LEFT, SPINNING, SENT_AWAY, TICKET, DONE = 0, 1, 2, 8, 16, 24, 32, 40, 48
COMPANY_SIZE = 56
CLOSED = -1  # what JOINED is while nobody may join, and TICKET while no image is computed together

# A step's row of float32 `hyper` [steps, HYPER_COLUMNS], one cache line: an optimiser's own numbers come first, those
# that all optimisers share stand at its end.
HYPER_COLUMNS = 16
MAX_NORM, AVERAGE_SHARE = 14, 15

# What the machines of a job exchange in the course of a batch, where there are several.
SUMS, GRADIENTS, SQUARES, WEIGHTS = 0, 1, 2, 3

WAIT, UPDATE = 0, 1  # slots of a profiled program's clock; the next ones are those of a block, in order
