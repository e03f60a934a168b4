"""Which launcher started this process, told by its environment: nothing is imported to find out."""

import contextlib
import os
import select
import time
from dataclasses import dataclass

# By launcher: the variables of a process's number (rank), and of how many there are.
LAUNCHERS = {
    "Open MPI": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    "MPICH": ("PMI_RANK", "PMI_SIZE"),
    "Slurm": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),  # of srun alone: a batch script has no step
}
WORDS_SECONDS = 0.5  # in which a launcher has passed on what a process said before it ends the job
ANSWER_SECONDS = 1.0  # in which a launcher has noted that a process goes
ASKED = "LENUMBA_MPI"  # set by --mpi, for launchers that are not in the table
INSTALL = "install it with: pip install 'lenumba[mpi]'"

# By launcher: what lets it speak to the MPI that mpi4py has found, where that is not its own.
SAME_MPI = {"Slurm": "use srun --mpi=pmi2 for MPICH, --mpi=pmix for Open MPI; srun --mpi=list tells what it offers"}


@dataclass(frozen=True)
class Launch:
    """What a launcher has told: this process's number, and how many there are (0: only MPI itself knows)."""

    launcher: str
    rank: int
    size: int


known: list[Launch] = []  # what MPI has told, where the environment could not


def launched() -> Launch | None:
    """Return how this process was started; None where it is alone."""
    if known:
        return known[0]
    for launcher, (rank, size) in LAUNCHERS.items():
        numbers = [os.environ.get(name, "") for name in (rank, size)]
        if all(number.isdecimal() for number in numbers) and int(numbers[1]) > 1:
            return Launch(launcher, int(numbers[0]), int(numbers[1]))
    return Launch("--mpi", 0, 0) if os.environ.get(ASKED) else None


def give_up(code: int) -> None:
    """Have the launcher end the job, from a process that cannot get to MPI: MPICH's would wait for it for ever."""
    if code:
        time.sleep(WORDS_SECONDS)
        tell_mpich(f"cmd=abort exitcode={code}")


def go_alone(code: int) -> None:
    """Have the launcher let the others end by themselves: MPICH's would kill them, and its own code would be theirs."""
    if 0 < code < 128 and (answers := tell_mpich("cmd=finalize")) >= 0:
        with contextlib.suppress(OSError):
            select.select([answers], [], [], ANSWER_SECONDS)


def tell_mpich(line: str) -> int:
    """Tell MPICH's launcher a last word, as its own library does; return where it answers, or −1.

    Two threads may end a process at once: only one of them is heard, as two last words are a fault.
    """
    place = os.environ.pop("PMI_FD", "") if "HYDI_CONTROL_FD" in os.environ else ""
    with contextlib.suppress(ValueError, OSError):
        os.write(int(place), f"{line}\n".encode())
        return int(place)
    return -1


def is_follower() -> bool:
    """Return whether another process of the job speaks for this one."""
    found = launched()
    return found is not None and found.rank > 0
