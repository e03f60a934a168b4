"""The kernels that draw handwritten digits, and their shapes: a data set that needs no download.

It knows strokes and ink. Nothing of networks.
"""
