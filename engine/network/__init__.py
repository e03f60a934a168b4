"""What a network is: activations, layers, losses, optimisers, schedules, memory layout, and the plan of its program.

It knows shapes and formulas, and in which table everything about an idea stands. It must not know YAML
files, data sets, or where a network is trained.
"""
