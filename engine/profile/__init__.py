"""Where the time goes: kernels, the machine's peaks, comparisons, functions of one's own.

It knows measurements. It must not change what it measures.
"""
