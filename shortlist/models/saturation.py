"""Whether this CPU multiplies bytes rightly: what decides the range of int8 weights."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

# MatMulInteger of uint8 rows [n, 64] with int8 weights [64, 32], whose columns are -127 and 127 in
# turn. It is kept as a file so that a search need not import onnx, which takes 0.2 s.
GRAPH = Path(__file__).with_name("saturation.onnx")
INPUTS = 64


@cache
def products_saturate() -> bool:
    """Whether this CPU's product of uint8 and int8 is wrong for large numbers.

    Without VNNI the sum of two products goes through 16 bits and is cut off there. It is tried out,
    because which kernel onnxruntime takes depends on more than the flags of the CPU.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(GRAPH), options, providers=["CPUExecutionProvider"])
    column = 255 * 127 * INPUTS
    expected = np.where(np.arange(32) % 2, column, -column)
    for count in (1, 32):  # a row alone has a kernel of its own
        (products,) = session.run(None, {"rows": np.full((count, INPUTS), 255, np.uint8)})
        if not np.array_equal(products, np.broadcast_to(expected, products.shape)):
            return True
    return False
