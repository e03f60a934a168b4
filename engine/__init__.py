"""The engine: networks, training, runs and everything around them.

Rooms stand in the order of their imports (CONTRIBUTING.md lists them, a test checks it). Nothing here prints: that is
for the command line.
"""
