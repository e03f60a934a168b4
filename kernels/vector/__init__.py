"""The SIMD vocabulary: vectors of 16 numbers, register tiles, bits, and what threads need to meet.

It knows LLVM's types and instructions and the target's registers. It must not know layers.
"""
