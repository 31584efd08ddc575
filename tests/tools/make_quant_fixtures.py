#!/usr/bin/env python3
"""Records what llama.cpp's quantizer leaves of deterministic matrices, for src/quant/encode_test.cpp.

  make_quant_fixtures.py > tests/data/quant/llama_cpp_errors.json

Needs the packages numpy and xllamacpp. The inputs come from an integer hash and from single float32
operations, so that the C++ test makes the same bits; a checksum of each is recorded with the errors."""
import ctypes
import json
import os
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "peers"))
import encode_test as peers  # noqa: E402

ROWS, COLS = 6, 512
F = np.float32


def hashed(seed, n):
    """n 32-bit numbers: the murmur3 finalizer of seed * 0x9E3779B9 + index."""
    h = (np.arange(n, dtype=np.uint64) + seed * 0x9E3779B9).astype(np.uint32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        h = (h ^ (h >> np.uint32(shift))) * np.uint32(factor)
    return h ^ (h >> np.uint32(16))


def uniform(seed, n):  # multiples of 2^-24 in [0, 1)
    return (hashed(seed, n) >> np.uint32(8)).astype(F) * F(2.0**-24)


def bell(seed, n):  # a sum of 8 uniforms, close to a Gaussian of variance 1
    total = sum((hashed(seed + 1000 * k, n) >> np.uint32(16)).astype(np.int64) for k in range(8))
    return (total - 8 * 32768 + 4).astype(F) * F(2.0**-16) * F(1.2247449)


def matrices():
    n = ROWS * COLS
    column = np.arange(n) % COLS
    g, u = bell(1, n), uniform(2, n)
    outlier = np.where(column == 37, g * F(60), g)
    blocks = g * F(2.0) ** (hashed(3, n // 32).repeat(32) % np.uint32(8)).astype(F)
    return {
        "bell": g, "uniform": u + u - F(1), "positive": u + F(1), "negative": F(-1) - u,
        "heavy tail": g / (u + F(0.0078125)), "outlier column": outlier, "varied blocks": blocks,
        "constant": np.full(n, 0.7311, F), "negative constant": np.full(n, -3.21, F), "zeros": np.zeros(n, F),
        "negative zeros": np.full(n, -0.0, F), "tiny": g * F(1e-6), "vanishing": g * F(1e-30), "large": g * F(1e4),
        "huge": g * F(1e6), "enormous": g * F(1e30),
        "ternary": ((hashed(4, n) % np.uint32(3)).astype(F) - F(1)) * F(0.05),
        "lattice": ((hashed(5, n) % np.uint32(16)).astype(F) - F(8)) * F(0.01),
        "sparse": np.where(hashed(6, n) % np.uint32(16) == 0, g, F(0)),
    }


def importances():
    level = (hashed(8, COLS) % np.uint32(11)).astype(F) - F(5)
    return {"plain": None, "uniform": uniform(7, COLS) + F(0.125),
            "heavy": (uniform(9, COLS) + F(0.5)) * F(2.0) ** level}


def fnv1a(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def q8_k_error(lib, x):
    out = np.zeros(x.size // 256 * 292, np.uint8)
    lib.quantize_row_q8_K_ref(peers.pointer(x), ctypes.c_void_p(out.ctypes.data), ctypes.c_int64(x.size))
    y = np.empty_like(x)
    lib.dequantize_row_q8_K(ctypes.c_void_p(out.ctypes.data), peers.pointer(y), ctypes.c_int64(x.size))
    with np.errstate(all="ignore"):
        return float(((x.astype(np.float64) - y) ** 2).sum())


def main():
    os.environ["GGML_NO_BACKTRACE"] = "1"
    lib = peers.load_ggml()
    cases = []
    for name, x in matrices().items():
        x = np.ascontiguousarray(x.astype(F).reshape(ROWS, COLS))
        for weighting, w in importances().items():
            errors = {}
            for form in peers.FORMATS:
                encoded = peers.peer_encode_apart(lib, form, x, w)
                errors[form] = peers.error(lib, form, x, encoded, w) if encoded is not None else np.inf
            if w is None:
                errors["Q8_K"] = q8_k_error(lib, x)
            # null: llama.cpp's result holds infinities or NaN, or its quantizer aborts.
            errors = {k: v if np.isfinite(v) else None for k, v in errors.items()}
            cases.append({"matrix": name, "importance": weighting, "x": fnv1a(x.tobytes()),
                          "w": fnv1a(w.tobytes()) if w is not None else "", "errors": errors})
    print('{"rows": %d, "cols": %d, "cases": [' % (ROWS, COLS))
    print(",\n".join(json.dumps(c) for c in cases))
    print("]}")


if __name__ == "__main__":
    main()
