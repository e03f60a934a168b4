"""A data set that the ranks of a job have in common: read once a machine, the same on all of them."""

from lenumba.engine.common.errors import DataError
from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.data.dataset import Dataset
from lenumba.engine.data.selection import load_data
from lenumba.engine.ranks.team import Alone


def load_shared(loaded: LoadedConfig, team: Alone, progress: bool = False, given: Dataset | None = None) -> Dataset:
    """Load a configuration's data set once a machine, for ranks that all call this; otherwise as :func:`load_data`.

    Raises
    ------
    ConfigError, DataError
        As :func:`load_data` does; the latter also where machines have different images.
    """
    dataset = team.share(lambda: load_data(loaded, progress, given))
    if place := team.differing(dataset.sha256):
        raise DataError(f"{place} has other images of {dataset.name} than rank 0; give all machines the same files")
    return dataset
