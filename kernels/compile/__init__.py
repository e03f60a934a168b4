"""Compiling, caching and loading of programs: the one decorator, its flags, and the cache of machine code.

It knows Numba, llvmlite and the cache's folder. It must not know what a program computes.
"""
