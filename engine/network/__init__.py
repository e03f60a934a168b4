"""What a network is: layers, losses, optimisers, schedules, memory layout, and the plan of its program.

It knows shapes and formulas. It must not know YAML files, data sets, or where a network is trained.
"""
