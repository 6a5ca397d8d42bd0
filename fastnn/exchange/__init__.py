"""Networks that travel: to and from ONNX, PyTorch, Keras and scikit-learn, and to C.

The other packages are imported when a function is called that needs them. What a format cannot hold is refused with a
ValueError that names it, before a file is written.
"""

from .c_files import to_c
from .onnx_reading import from_onnx
from .onnx_writing import to_onnx
from .with_keras import from_keras, to_keras
from .with_sklearn import from_sklearn, to_sklearn
from .with_torch import from_torch, to_torch

__all__ = [
    "from_keras",
    "from_onnx",
    "from_sklearn",
    "from_torch",
    "to_c",
    "to_keras",
    "to_onnx",
    "to_sklearn",
    "to_torch",
]
