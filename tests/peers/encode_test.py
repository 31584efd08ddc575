#!/usr/bin/env python3
"""Holds hone's encoders against llama.cpp's quantizer (ggml_quantize_chunk of the xllamacpp package).

  encode_test.py PROBE [--model GGUF] [--all] [--formats Q4_0,Q4_1] [--threads N]

PROBE is the built encode_probe. The model (default: environment HONE_MODEL) is a GGUF whose matrices are
BF16, F16 or F32; without one only random matrices are compared. Every matrix is encoded by both sides
plain, with uniform and with heavy-tailed importances, and judged by the weighted squared error of the
decoded values. Prints a table of hone's error / llama.cpp's error and exits 1 when any ratio is above 1,
77 (skipped) without the packages numpy, gguf and xllamacpp."""
import argparse
import concurrent.futures
import ctypes
import glob
import itertools
import mmap
import os
import subprocess
import sys
import tempfile
import time

try:
    import gguf
    import numpy as np
    import xllamacpp
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

# name: (ggml type, block, block bytes)
FORMATS = {
    "Q8_0": (8, 32, 34), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24),
    "Q2_K": (10, 256, 84), "Q3_K": (11, 256, 110), "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176),
    "Q6_K": (14, 256, 210), "IQ4_NL": (20, 32, 18), "IQ4_XS": (23, 256, 136), "MXFP4": (39, 32, 17),
    "Q2_0": (42, 64, 18), "IQ1_S": (19, 256, 50), "IQ1_M": (29, 256, 56), "IQ2_XXS": (16, 256, 66),
    "IQ2_XS": (17, 256, 74), "IQ2_S": (22, 256, 82), "IQ3_XXS": (18, 256, 98), "IQ3_S": (21, 256, 110),
    "TQ1_0": (34, 256, 54), "TQ2_0": (35, 256, 66), "NVFP4": (40, 64, 36), "Q1_0": (41, 128, 18),
}
# llama.cpp encodes these with importances only; equal ones stand for none.
NEED_IMPORTANCE = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS")
SAMPLE_ROWS = 512
FLOATP = ctypes.POINTER(ctypes.c_float)


def load_ggml():
    folder = os.path.dirname(xllamacpp.__file__)
    lib = ctypes.CDLL(glob.glob(os.path.join(folder, "xllamacpp*.so"))[0])
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, FLOATP, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64,
                                        ctypes.c_int64, FLOATP]
    for name in FORMATS:
        f = getattr(lib, dequantizer(name))
        f.restype, f.argtypes = None, [ctypes.c_void_p, FLOATP, ctypes.c_int64]
        lib.ggml_quantize_init(FORMATS[name][0])
    return lib


def dequantizer(name):
    return "dequantize_row_" + (name[:-1].lower() + "K" if name.endswith("_K") else name.lower())


def pointer(a):
    return a.ctypes.data_as(FLOATP)


def peer_encode(lib, name, x, importance, threads):
    kind, block, block_bytes = FORMATS[name]
    rows, cols = x.shape
    row_bytes = cols // block * block_bytes
    out = np.zeros(rows * row_bytes, np.uint8)
    if importance is None and name in NEED_IMPORTANCE:
        importance = np.ones(cols, np.float32)
    weights = pointer(importance) if importance is not None else None
    edges = np.linspace(0, rows, min(threads, rows) + 1).astype(int)

    def part(k):
        a, b = int(edges[k]), int(edges[k + 1])
        lib.ggml_quantize_chunk(kind, pointer(x), out.ctypes.data, a * cols, b - a, cols, weights)
    start = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, range(len(edges) - 1)))
    return out, time.perf_counter() - start


def peer_encode_apart(lib, name, x, importance):
    """peer_encode in a child process: llama.cpp's searches in code books abort on some matrices. None if so."""
    _, block, block_bytes = FORMATS[name]
    shared = mmap.mmap(-1, x.shape[0] * (x.shape[1] // block) * block_bytes)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        shared[:] = peer_encode(lib, name, x, importance, 1)[0].tobytes()
        os._exit(0)
    return np.frombuffer(shared[:], np.uint8) if os.waitpid(child, 0)[1] == 0 else None


def error(lib, name, x, encoded, importance):
    y = np.empty_like(x)
    getattr(lib, dequantizer(name))(encoded.ctypes.data, pointer(y), x.size)
    with np.errstate(all="ignore"):
        square = (x.astype(np.float64) - y) ** 2
    total = float(square.sum() if importance is None else (square * importance).sum())
    return total if np.isfinite(total) else float("inf")


def probe_encode(probe, folder, name, x, importance, threads):
    paths = [os.path.join(folder, n) for n in ("x.f32", "out", "w.f32")]
    x.tofile(paths[0])
    command = [probe, name, str(x.shape[0]), str(x.shape[1]), paths[0], paths[1], str(threads)]
    if importance is not None:
        importance.tofile(paths[2])
        command.append(paths[2])
    out = subprocess.run(command, capture_output=True, text=True, check=False)
    if out.returncode:
        sys.exit(f"{' '.join(command)}: {out.stderr}")
    seconds, own_error = map(float, out.stdout.split())
    return np.fromfile(paths[1], np.uint8), seconds, own_error


def random_cases():
    r = np.random.default_rng(7)
    n = (24, 512)
    outlier = r.normal(size=n).astype(np.float32)
    outlier[:, 37] *= 60
    blocks = r.normal(size=n) * np.exp(r.normal(size=(n[0], n[1] // 32)).repeat(32, 1))
    cases = {
        "gaussian": r.normal(size=n), "uniform": r.uniform(-1, 1, n), "positive": r.uniform(1, 2, n),
        "negative": r.uniform(-2, -1, n), "student": r.standard_t(2, n), "cauchy": r.standard_cauchy(n), "outlier column": outlier,
        "varied blocks": blocks, "constant": np.full(n, 0.7311), "negative constant": np.full(n, -3.21),
        "zeros": np.zeros(n), "negative zeros": np.full(n, -0.0), "tiny": r.normal(size=n) * 1e-6,
        "vanishing": r.normal(size=n) * 1e-30, "huge": r.normal(size=n) * 1e6, "enormous": r.normal(size=n) * 1e30,
        "ternary": r.integers(-1, 2, n) * 0.05, "lattice": r.integers(-8, 8, n) * 0.01,
        "sparse": r.normal(size=n) * (r.uniform(size=n) < 0.05), "large": r.normal(size=n) * 1e4,
    }
    return [(k, np.ascontiguousarray(v, np.float32)) for k, v in cases.items()]


def model_cases(path, every, rows):
    seen = {}
    for t in gguf.GGUFReader(path).tensors:
        if len(t.shape) != 2:
            continue
        role = t.name.split(".")[-2] if t.name.startswith("blk.") else t.name
        seen.setdefault(role, []).append(t)
    for tensors in seen.values():
        chosen = tensors if every else [tensors[0], tensors[len(tensors) // 2]] if len(tensors) > 1 else tensors
        for t in chosen:
            x = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32).reshape(int(t.shape[1]), int(t.shape[0]))
            yield t.name, np.ascontiguousarray(x[:rows] if rows else x)


def importances(cols):
    r = np.random.default_rng(cols)
    return {"plain": None, "uniform": r.uniform(0.1, 1, cols).astype(np.float32),
            "heavy": np.exp(1.5 * r.normal(size=cols)).astype(np.float32)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("probe")
    parser.add_argument("--model", default=os.environ.get("HONE_MODEL"))
    parser.add_argument("--all", action="store_true", help="every matrix; otherwise two of each kind")
    parser.add_argument("--rows", type=int, help="first rows of each matrix; 0: whole (the default with --all)")
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--random-only", action="store_true")
    args = parser.parse_args()
    os.environ["GGML_NO_BACKTRACE"] = "1"
    lib = load_ggml()
    cases = [("random", *c) for c in random_cases()]
    if args.model and not args.random_only:
        rows = args.rows if args.rows is not None else 0 if args.all else SAMPLE_ROWS
        cases = itertools.chain(cases, (("model", *c) for c in model_cases(args.model, args.all, rows)))
    elif not args.model:
        print("no model given (--model or HONE_MODEL): random matrices only")
    ratios, times, failures, compared = {}, {}, [], 0
    with tempfile.TemporaryDirectory() as folder:
        for kind, case, x in cases:
            for weighting, importance in importances(x.shape[1]).items():
                for name in args.formats.split(","):
                    if x.shape[1] % FORMATS[name][1]:
                        continue
                    if kind == "random":
                        peer, peer_seconds = peer_encode_apart(lib, name, x, importance), 0
                    else:
                        peer, peer_seconds = peer_encode(lib, name, x, importance, args.threads)
                    ours, seconds, own_error = probe_encode(args.probe, folder, name, x, importance, args.threads)
                    a, b = error(lib, name, x, ours, importance), float("inf") if peer is None else error(lib, name, x, peer, importance)
                    if abs(own_error - a) > 1e-4 * a:
                        failures.append(f"{name} {case}: hone's weighted_error {own_error} is not {a}")
                    # Rounding of the sums themselves aside.
                    if not a <= b * (1 + 1e-9):
                        failures.append(f"{name} {case} {weighting}: {a:.6g} is above {b:.6g}")
                    compared += 1
                    if args.verbose:
                        print(f"{name:7} {case:24} {weighting:8} {a:.5g} {b:.5g} {a / b if b else 1:.4f}")
                    if kind == "model":
                        key = (name, weighting)
                        ratios.setdefault(key, []).append(a / b if b else 1.0)
                        t = times.setdefault(name, [0, 0, 0])
                        t[0] += seconds
                        t[1] += peer_seconds
                        t[2] += x.size
    if ratios:
        print(f"{'format':8}{'importance':12}{'min':>8}{'median':>8}{'max':>8}   hone / llama.cpp weighted error")
        for (name, weighting), r in sorted(ratios.items(), key=lambda kv: list(FORMATS).index(kv[0][0])):
            print(f"{name:8}{weighting:12}{min(r):8.4f}{np.median(r):8.4f}{max(r):8.4f}")
        print(f"{'format':8}{'hone s':>8}{'peer s':>8}{'ratio':>8}{'ns/weight':>11}  encode time, {args.threads} threads")
        for name, (ours, peer, count) in times.items():
            print(f"{name:8}{ours:8.2f}{peer:8.2f}{ours / peer:8.2f}{ours * 1e9 / count:11.2f}")
    print("\n".join(failures))
    print(f"{compared} comparisons, {len(failures)} failures")
    return 1 if failures or not compared else 0


if __name__ == "__main__":
    sys.exit(main())
