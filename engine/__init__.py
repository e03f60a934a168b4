"""The engine: configuration, data, networks, training and runs, on top of the kernels."""
