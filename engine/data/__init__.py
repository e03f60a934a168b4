"""Data sets: from files, downloads or drawings to images and labels, all checked.

It knows formats, classes and splits. It must not know networks or runs.
"""
