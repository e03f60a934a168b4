"""One module for each framework, imported only in the process that measures it."""

MODULES = {
    "lenumba": "with_lenumba",
    "PyTorch": "with_torch",
    "JAX": "with_jax",
    "Keras": "with_keras",
    "ONNX Runtime": "with_onnxruntime",
}
REQUIRES = {"lenumba": "lenumba", "PyTorch": "torch", "JAX": "jax", "Keras": "keras", "ONNX Runtime": "onnxruntime"}
TRAINS = ("lenumba", "PyTorch", "JAX", "Keras")
