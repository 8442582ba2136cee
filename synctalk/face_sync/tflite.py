"""A TensorFlow Lite model as a plain function of arrays (run by ai-edge-litert on the CPU)."""

import os

import numpy as np
from numpy.typing import NDArray


class LiteModel:
    """One single-input model.

    Args:
        content: the bytes of a .tflite file.
        threads: CPU threads it may use.
    """

    def __init__(self, content: bytes, threads: int = 1) -> None:
        # The runtime announces its delegates on stderr at import; 2 keeps errors and drops the chatter.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_content=content, num_threads=threads)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        details = self._interpreter.get_output_details()
        self._outputs = {item["name"]: item["index"] for item in details}

    def __call__(self, value: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Run the model once; `value` must have the model's input shape. Outputs by tensor name."""
        self._interpreter.set_tensor(self._input, value)
        self._interpreter.invoke()
        return {name: self._interpreter.get_tensor(index) for name, index in self._outputs.items()}
