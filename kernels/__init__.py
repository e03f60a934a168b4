"""The kernels: machine code, and what there is to know of it.

Kernels know arrays, shapes and addresses. They know nothing of configurations, data sets, runs or people: nothing here
imports the engine. Below, rooms stand in the order of their imports.
"""
