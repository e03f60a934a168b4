"""Trained networks for microcontrollers: C files, in float32 and in int8, and the same arithmetic in NumPy.

It knows trained networks, and TensorFlow Lite's arithmetic of quantised numbers. It must not train, nor run compilers.
"""
