"""A run in memory: the network of a configuration, buffers, threads, epochs.

It knows what happens between the first batch and the last. It must not write files or print.
"""
