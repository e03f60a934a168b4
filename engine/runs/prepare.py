"""What decides whether a configuration can be trained, before anything is compiled: for `check` as for `train`."""

import os

from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.data.balance import check_class_weight
from lenumba.engine.data.dataset import dataset_spec
from lenumba.engine.data.download import SOURCES, find_folder
from lenumba.engine.data.selection import check_counts, load_data
from lenumba.engine.data.splits import split_validation
from lenumba.engine.network.network import Network
from lenumba.engine.runs.extras import check_extras
from lenumba.engine.runs.transfer import fitting, read_source
from lenumba.engine.training.build import check_last_batch, check_network, check_trainable, check_training, stated_shape


def check_stated(loaded: LoadedConfig) -> None:
    """Raise ConfigError or DataError for what the configuration alone tells, so that no data are read for it."""
    check_extras(loaded.config)
    if stated_shape(loaded.config) is not None:  # else only the files tell the size of the images
        check_trainable(loaded, check_network(loaded))


def check_run(loaded: LoadedConfig) -> Network:
    """Return the network of a training that can begin, or raise what it would raise.

    The user's own files are read, but for those that a shipped recipe names as an example; of data sets that are known,
    only where a part of them is to be used. Nothing is downloaded: what only the missing files can tell is not checked.

    Raises
    ------
    ConfigError, DataError
        As :func:`lenumba.engine.runs.run.start_run` does.
    """
    source = read_source(loaded)
    check_stated(loaded)
    data = loaded.config.data
    count, parts = dataset_spec(data.name).train_count, (data.classes, data.samples_per_class)
    published = data.name in SOURCES
    given = published and (data.root is not None or "LENUMBA_DATA" in os.environ)
    absent = published and not given and find_folder(data.name) is None
    if loaded.example_root is not None:
        network = check_trainable(loaded, check_network(loaded))
    elif count is not None and not given and (parts == (None, None) or absent):
        network = check_trainable(loaded, check_network(loaded))
        names = dataset_spec(data.name).class_names or ()
        check_class_weight(loaded, names if data.classes is None else [names[k] for k in data.classes])
        if parts == (None, None):
            parted = split_validation(min(data.samples or count, count), data.validation, loaded.config.train.seed)
            check_counts(loaded, data.name, *map(len, parted))
            check_last_batch(loaded, network, len(parted[0]))
    else:
        network = check_training(loaded, load_data(loaded))[0]
    if source is not None:
        fitting(source, network, loaded)
    return network
