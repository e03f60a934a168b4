"""Measuring machine code: clocks inside programs, the machine's peaks, assembly and LLVM's remarks.

It knows programs and what LLVM made of them. It must not know why a network has them; nothing imports it but what
measures.
"""
