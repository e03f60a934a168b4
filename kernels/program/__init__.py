"""From a network's plan to one program: the plan, its printed source, the loops around it, the table of kernels.

It knows calls, shapes and the order of things. It must not know layers' configurations, nor how a kernel works.
"""
