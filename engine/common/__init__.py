"""What every room may use: errors, interruptions, durable files, metrics, statistics, the machine, aligned text.

It knows nothing of networks, data or runs.
"""
