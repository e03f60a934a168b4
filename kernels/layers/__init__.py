"""The kernels themselves: one file for each kind of layer, loss, update or preparation of images.

Each knows its formula, its loops and its tiles, as functions of pointers and shapes. It must not know which network
calls it, where its arrays come from, or on which thread it runs.
"""
