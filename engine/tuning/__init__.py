"""Studies: what is tried, what is done and owed, who leads and whether that is luck.

It knows trainings as experiments. It must not know how a network is trained, nor print.
"""
