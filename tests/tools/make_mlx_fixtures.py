#!/usr/bin/env python3
"""Makes tests/data/tensor/mlx_*.bin: tensors quantized by mlx and the values they stand for.

  make_mlx_fixtures.py [FOLDER]      needs the packages mlx and numpy

One file a mode: a line of JSON {"mode", "group", "bits", "scale", "rows", "cols", "mlx"} ended by a newline, then the
bytes of weight, scales, biases (affine only), and rows x cols values as F32: mx.dequantize with scales and biases
cast to F32, so that nothing is rounded to the type of the scales. Rows hold ordinary numbers, outliers, constants,
zeros and tiny values. mx.quantize chooses the scales; the last row keeps codes and has scales of our own, negative
and large ones among them."""
import json
import os
import sys

import mlx.core as mx
import numpy as np

ROWS, COLS = 4, 128
TYPES = {"F32": mx.float32, "F16": mx.float16, "BF16": mx.bfloat16}


def matrix(seed):
    r = np.random.default_rng(seed)
    x = r.normal(size=(ROWS, COLS)).astype(np.float32)
    x[0, 5] = 40
    x[1] = r.standard_t(2, size=COLS) * 1e-3
    x[2, :64], x[2, 64:] = 0.7311, 0
    return x


def raw(a):
    """The bytes of an mlx array; numpy has no BF16, so that goes through a view."""
    if a.dtype == mx.bfloat16:
        a = a.view(mx.uint16)
    return np.array(a).tobytes()


def affine(bits, group, scale):
    x = mx.array(matrix(bits * 1000 + group)).astype(TYPES[scale])
    w, s, b = mx.quantize(x, group_size=group, bits=bits)
    factor = np.ones((ROWS, 1), np.float32)
    factor[-1] = -1.37
    s, b = (s * mx.array(factor)).astype(s.dtype), (b * mx.array(factor)).astype(b.dtype)
    values = mx.dequantize(w, s.astype(mx.float32), b.astype(mx.float32), group_size=group, bits=bits)
    return {"mode": "affine", "group": group, "bits": bits, "scale": scale}, [w, s, b, values]


def floats(mode):
    x = matrix(77)
    x[3] *= np.exp(2 * np.random.default_rng(5).normal(size=COLS // 16)).repeat(16).astype(np.float32)
    w, s = mx.quantize(mx.array(x), mode=mode)
    values = mx.dequantize(w, s, mode=mode).astype(mx.float32)
    group, bits = {"mxfp4": (32, 4), "mxfp8": (32, 8), "nvfp4": (16, 4)}[mode]
    return {"mode": mode, "group": group, "bits": bits, "scale": "U8"}, [w, s, values]


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "..", "data", "tensor")
    os.makedirs(folder, exist_ok=True)
    cases = [affine(bits, group, ("BF16", "F16", "F32")[(bits + k) % 3])
             for bits in (1, 2, 3, 4, 5, 6, 8) for k, group in enumerate((32, 64, 128))]
    cases += [floats(mode) for mode in ("mxfp4", "mxfp8", "nvfp4")]
    for head, arrays in cases:
        name = head["mode"] if head["scale"] == "U8" else f"affine{head['bits']}_g{head['group']}_{head['scale'].lower()}"
        head |= {"rows": ROWS, "cols": COLS, "mlx": mx.__version__}
        with open(os.path.join(folder, f"mlx_{name}.bin"), "wb") as f:
            f.write(json.dumps(head).encode() + b"\n")
            for a in arrays:
                f.write(raw(a))
    print(f"{len(cases)} files in {folder}")


if __name__ == "__main__":
    main()
