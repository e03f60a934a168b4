"""lenumba: a CPU training engine for small CNNs, compiled by Numba into one program per network."""

__version__ = "0.1.0"
