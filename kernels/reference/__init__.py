"""The plain-loop twins: what each kernel computes, written as the formula, for any dtype.

They know arrays with named axes. They must not know lanes, tiles or padding in memory, nor share code with the
kernels: they are what kernels are compared with.
"""
