"""What works with other libraries and has their names; see ``__path__`` in :mod:`lenumba`."""
