"""The kernels: JIT-compiled loops over blocks of 16 images, and the programs built from them."""
