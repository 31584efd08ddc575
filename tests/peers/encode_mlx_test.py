#!/usr/bin/env python3
"""Holds hone's encoders of the grouped formats against mlx.core.quantize.

  encode_mlx_test.py PROBE [--model GGUF] [--rows N] [--formats PREFIX] [--threads N] [--times]

PROBE is the built encode_probe. Random matrices, and the first rows of two matrices of each kind of the model (GGUF in
BF16, F16 or F32; default: environment HONE_MODEL), go through both sides, plain and with heavy-tailed importances, in
every mode of mlx. Judged by the (weighted) squared error of the decoded values; mlx's are decoded with its scales and
biases as F32, which rounds less than mlx itself does. Prints hone's error / mlx's and times, exits 1 when a ratio is
above 1, 77 (skipped) without the packages mlx and numpy."""
import argparse
import os
import sys
import tempfile
import time

try:
    import mlx.core as mx
    import numpy as np
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

TYPES = {"BF16": mx.bfloat16, "F16": mx.float16, "F32": mx.float32}
FLOAT_MODES = {"mxfp4": ("E2M1_G32_E8M0", 32), "mxfp8": ("E4M3_G32_E8M0", 32), "nvfp4": ("E2M1_G16_E4M3", 16)}


def modes():
    """(name of hone's row, mode, bits, group, type of scales)"""
    for bits in (1, 2, 3, 4, 5, 6, 8):
        for group in (32, 64, 128):
            for kind in TYPES:
                yield f"INT{bits}_G{group}_{kind}_BIAS", "affine", bits, group, kind
    for mode, (name, group) in FLOAT_MODES.items():
        yield name, mode, None, group, "F32"


def as_type(x, kind):
    """x rounded to what a model in that type holds, as mlx array and as F32."""
    a = mx.array(x).astype(TYPES[kind])
    mx.eval(a)
    return a, np.array(a.astype(mx.float32))


def mlx_quantize(a, mode, bits, group):
    start = time.perf_counter()
    parts = mx.quantize(a, mode=mode) if mode != "affine" else mx.quantize(a, group_size=group, bits=bits)
    mx.eval(parts)
    seconds = time.perf_counter() - start
    if mode == "affine":
        w, s, b = parts
        y = mx.dequantize(w, s.astype(mx.float32), b.astype(mx.float32), group_size=group, bits=bits)
    else:
        y = mx.dequantize(*parts, mode=mode).astype(mx.float32)
    return np.array(y), seconds


def squared_error(x, y, importance):
    with np.errstate(all="ignore"):
        square = (x.astype(np.float64) - y) ** 2
    total = float(square.sum() if importance is None else (square * importance).sum())
    return total if np.isfinite(total) else float("inf")


def random_cases():
    r = np.random.default_rng(11)
    n = (24, 512)
    outlier = r.normal(size=n)
    outlier[:, 37] *= 60
    cases = {
        "gaussian": r.normal(size=n), "uniform": r.uniform(-1, 1, n), "positive": r.uniform(1, 2, n),
        "negative": r.uniform(-2, -1, n), "student": r.standard_t(2, n), "outlier column": outlier,
        "varied groups": r.normal(size=n) * np.exp(r.normal(size=(n[0], n[1] // 32)).repeat(32, 1)),
        "constant": np.full(n, 0.7311), "zeros": np.zeros(n), "tiny": r.normal(size=n) * 1e-5,
        "large": r.normal(size=n) * 1e3, "ternary": r.integers(-1, 2, n) * 0.05, "lattice": r.integers(-8, 8, n) * 0.01,
        "sparse": r.normal(size=n) * (r.uniform(size=n) < 0.05), "near a constant": 3 + r.normal(size=n) * 1e-3,
    }
    return [(k, np.ascontiguousarray(v, np.float32)) for k, v in cases.items()]


def model_cases(path, rows):
    import encode_test
    return encode_test.model_cases(path, False, rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("probe")
    parser.add_argument("--model", default=os.environ.get("HONE_MODEL"))
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--formats", default="", help="only rows whose names begin so")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    import encode_test
    cases = [("random", *c) for c in random_cases()]
    if args.model:
        cases += [("model", *c) for c in model_cases(args.model, args.rows)]
    else:
        print("no model given (--model or HONE_MODEL): random matrices only")
    ratios, failures, compared = {}, [], 0
    with tempfile.TemporaryDirectory() as folder:
        for name, mode, bits, group, kind in modes():
            if not name.startswith(args.formats):
                continue
            seconds = [0.0, 0.0]
            for source, case, raw in cases:
                if raw.shape[1] % group:
                    continue
                a, x = as_type(raw, kind)
                y, peer_seconds = mlx_quantize(a, mode, bits, group)
                for weighting, importance in (("plain", None), ("heavy", encode_test.importances(x.shape[1])["heavy"])):
                    if case == "zeros" and importance is not None:
                        continue
                    _, own_seconds, ours = encode_test.probe_encode(args.probe, folder, name, x, importance, args.threads)
                    theirs = squared_error(x, y, importance)
                    compared += 1
                    if not ours <= theirs * (1 + 1e-6) + 1e-30:
                        failures.append(f"{name} {case} {weighting}: {ours:.6g} is above mlx's {theirs:.6g} "
                                        f"({ours / theirs if theirs else 0:.5f})")
                    if source == "model":
                        ratios.setdefault((name, weighting), []).append(ours / theirs if theirs else 1.0)
                        if importance is None:
                            seconds[0] += own_seconds
                            seconds[1] += peer_seconds
            if args.verbose and seconds[1]:
                print(f"{name:22} plain {np.median(ratios[name, 'plain']):.4f} heavy {np.median(ratios[name, 'heavy']):.4f} "
                      f"time {seconds[0] / seconds[1]:.2f}")
    for weighting in ("plain", "heavy"):
        worst = [max(r) for (_, w), r in ratios.items() if w == weighting]
        if worst:
            print(f"hone / mlx on the model, {weighting}: largest ratio {max(worst):.4f}")
    print("\n".join(failures))
    print(f"{compared} comparisons, {len(failures)} failures")
    return 1 if failures or not compared else 0


if __name__ == "__main__":
    sys.exit(main())
