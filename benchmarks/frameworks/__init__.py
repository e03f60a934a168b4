"""One module for each framework, imported only in the process that measures it."""

MODULES = {
    "lenumba": "with_lenumba",
    "PyTorch": "with_torch",
    "JAX": "with_jax",
    "Keras": "with_keras",
    "ONNX Runtime": "with_onnxruntime",
    "lenumba AVX2": "with_lenumba",
}
REQUIRES = {"lenumba": "lenumba", "PyTorch": "torch", "JAX": "jax", "Keras": "keras", "ONNX Runtime": "onnxruntime"}
REQUIRES["lenumba AVX2"] = "lenumba"
TRAINS = ("lenumba", "PyTorch", "JAX", "Keras", "lenumba AVX2")
# The same program for a CPU with 8 vector registers of half the width.
VARIABLES = {"lenumba AVX2": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""}}
