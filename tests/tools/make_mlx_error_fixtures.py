#!/usr/bin/env python3
"""Records what mlx.core.quantize leaves of a few matrices, for src/quant/layout_encoders_test.cpp.

  make_mlx_error_fixtures.py [FOLDER]      needs the packages mlx and numpy

Writes mlx_matrices.f32 (the matrices one after another, ROWS x COLS each, numbers that F16 and BF16 both hold) and
mlx_errors.json: {"mlx", "rows", "cols", "matrices": [names], "weights": [COLS], "errors": {row of hone's table:
[[plain, weighted] per matrix]}}."""
import json
import os
import sys

import mlx.core as mx
import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "peers"))
import encode_mlx_test as peers  # noqa: E402

ROWS, COLS = 5, 384


def matrices():
    r = np.random.default_rng(21)
    n = (ROWS, COLS)
    cases = {
        "gaussian": r.normal(size=n) * 0.05, "student": r.standard_t(2, n) * 0.05, "positive": r.uniform(1, 2, n),
        "negative": r.uniform(-2, -1, n), "constant": np.full(n, 0.7311), "zeros": np.zeros(n),
        "ternary": r.integers(-1, 2, n) * 0.05, "sparse": r.normal(size=n) * (r.uniform(size=n) < 0.05),
    }
    for name, x in cases.items():
        x = np.array(mx.array(x.astype(np.float32)).astype(mx.bfloat16).astype(mx.float32))
        x[np.abs(x) < 2.0**-13] = 0
        assert (x.astype(np.float16).astype(np.float32) == x).all(), name
        yield name, x


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "..", "data", "quant")
    cases = list(matrices())
    weights = np.exp(1.5 * np.random.default_rng(22).normal(size=COLS)).astype(np.float32)
    errors = {}
    for name, mode, bits, group, kind in peers.modes():
        errors[name] = []
        for _, x in cases:
            y, _ = peers.mlx_quantize(peers.as_type(x, kind)[0], mode, bits, group)
            errors[name].append([peers.squared_error(x, y, None), peers.squared_error(x, y, weights)])
    np.concatenate([x for _, x in cases]).astype("<f4").tofile(os.path.join(folder, "mlx_matrices.f32"))
    with open(os.path.join(folder, "mlx_errors.json"), "w", encoding="utf-8") as f:
        lines = ",\n".join(f'  "{k}": {json.dumps(v)}' for k, v in errors.items())
        f.write(json.dumps({"mlx": mx.__version__, "rows": ROWS, "cols": COLS, "matrices": [n for n, _ in cases],
                            "weights": [float(w) for w in weights]})[:-1] + f', "errors": {{\n{lines}}}}}\n')
    print(f"{len(errors)} rows of {len(cases)} matrices in {folder}")


if __name__ == "__main__":
    main()
