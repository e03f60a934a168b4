"""Several ranks that train one network: all of them begin with what rank 0 has."""

from lenumba.engine.ranks.team import Team
from lenumba.engine.training.trainer import Trainer


def spread(trainer: Trainer) -> None:
    """Let every rank's trainer, made alike, go on from where rank 0's stands."""
    team, executor = trainer.team, trainer.executor
    if not isinstance(team, Team):
        return
    team.barrier()
    kept = (executor.theta.copy(), executor.state.copy(), trainer.best_theta) if team.leads else None
    theta, state, best = team.told(kept)  # type: ignore[misc]
    team.barrier()  # nobody writes to what another one still reads
    executor.theta[:], executor.state[:], trainer.best_theta[:] = theta, state, best
    trainer.progress, judge, trainer.init_from = team.told((trainer.progress, trainer.judge, trainer.init_from))
    trainer.take(judge)
    team.barrier()


def agreed(trainer: Trainer, signal: int | None) -> int:
    """Return the number of the signal that came to this rank, or to another one; 0 where none did."""
    return trainer.team.largest(signal or 0)
