"""A run on disk: folders, checkpoints, resuming, seeds, comparing, replaying.

It knows what a run leaves behind and how to go on from it. It must not know what is made of finished runs.
"""
