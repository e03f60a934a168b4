"""The ranks beside the one that leads a run: they train with it, and leave its folder alone."""

from lenumba.engine.common.errors import InterruptedRunError
from lenumba.engine.common.interrupts import Graceful
from lenumba.engine.ranks.team import Alone
from lenumba.engine.runs.hooks import Hooks
from lenumba.engine.runs.run import make_trainer
from lenumba.engine.training.foretelling import foretell
from lenumba.engine.training.together import agreed, spread


def follow_run(team: Alone) -> None:
    """Train as one of the ranks that rank 0 leads in ``start_run`` or ``resume_run``.

    Raises
    ------
    ConfigError, DataError, DivergedError
        As rank 0 raises them.
    InterruptedRunError
        After a signal that came to any rank.
    """
    trainer = make_trainer(team.told(None), Hooks(), team=team)  # type: ignore[arg-type]
    with Graceful(trainer.stop) as interruption:
        spread(trainer)
        foretell(trainer)
        for _ in trainer.epochs():
            pass
        if not agreed(trainer, interruption.signal):
            trainer.test()
        if signal := agreed(trainer, interruption.signal):
            raise InterruptedRunError("", trainer.progress.epoch, signal)
