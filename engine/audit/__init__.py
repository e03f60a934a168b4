"""What the labels and the images of a data set do to networks trained on parts of it: audits and influence.

It knows how to train many times on parts of a data set, and what follows from that. It must not print.
"""
