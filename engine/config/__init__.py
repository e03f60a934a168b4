"""Configurations: from YAML to checked values, with one line for each fault.

It knows every key, its type and its limits, and which combinations do not fit. It must not read data or train.
"""
