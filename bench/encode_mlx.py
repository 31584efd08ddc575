#!/usr/bin/env python3
"""hone's encoders beside mlx.core.quantize on the same matrix: error and time per mode of MLX.

  bench/encode_mlx.py MODEL.gguf [--probe PATH] [--threads 1,2] [--rounds 5] [--size 2048] [--all] [--out FILE.md]

MODEL is a GGUF in BF16, F16 or F32; its values, as BF16, fill a matrix of --size squared. Errors: sums of
(importance *) squared differences of the decoded values, hone / mlx, plain and with heavy-tailed importances (which
mlx cannot take into account). Times: hone / mlx, plain, the least of the rounds of each (turn by turn); mlx uses one thread.
Without --all, groups of 64 for the affine modes. Needs mlx, numpy and gguf; PROBE is the built encode_probe.
"""
import argparse
import os
import pathlib
import sys
import tempfile

import gguf
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "peers"))
import encode_mlx_test as peer  # noqa: E402
import encode_test  # noqa: E402


def model_values(path: str, size: int) -> np.ndarray:
    """size x size numbers from the matrices of a model, as many of each as the matrix has room for."""
    tensors = [t for t in gguf.GGUFReader(path).tensors if len(t.shape) == 2]
    share = size * size // len(tensors) + 1
    parts = [gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32).reshape(-1)[:share] for t in tensors]
    return np.ascontiguousarray(np.resize(np.concatenate(parts), (size, size)), np.float32)


def measure(probe: str, x: np.ndarray, mode: tuple, threads: list, rounds: int) -> dict:
    name, kind, bits, group, scale = mode
    a, x = peer.as_type(x, scale)
    heavy = encode_test.importances(x.shape[1])["heavy"]
    y, _ = peer.mlx_quantize(a, kind, bits, group)
    row = {"name": name, "mode": kind, "time": {}, "mlx": [], "error": {}}
    with tempfile.TemporaryDirectory() as folder:
        for label, importance in (("plain", None), ("weighted", heavy)):
            _, _, ours = encode_test.probe_encode(probe, folder, name, x, importance, threads[-1])
            row["error"][label] = ours / peer.squared_error(x, y, importance)
        for count in threads:
            ours = []
            for _ in range(rounds):
                row["mlx"].append(peer.mlx_quantize(a, kind, bits, group)[1] * 1e9 / x.size)
                ours.append(encode_test.probe_encode(probe, folder, name, x, None, count)[1] * 1e9 / x.size)
            row["time"][count] = min(ours)
    return row


def table(rows: list, threads: list) -> str:
    """The measured rows as Markdown."""
    head = ["row", "MLX mode", "error, plain", "error, weighted", *[f"time, {t} thread{'s' * (t > 1)}" for t in threads],
            "mlx ns/weight"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for r in rows:
        cells = [r["name"], r["mode"], *[f"{r['error'][k]:.3f}" for k in ("plain", "weighted")],
                 *[f"{r['time'][t] / min(r['mlx']):.2f}" for t in threads], f"{min(r['mlx']):.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--probe", default=os.environ.get("HONE_ENCODE_PROBE", str(ROOT / "build" / "tests" / "encode_probe")))
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--all", action="store_true", help="every group and type of scale")
    parser.add_argument("--out")
    args = parser.parse_args()
    threads = [int(t) for t in args.threads.split(",")]
    x = model_values(args.model, args.size)
    rows = []
    for mode in peer.modes():
        name, kind, _, group, scale = mode
        if kind == "affine" and not args.all and (group != 64 or scale != "BF16"):
            continue
        rows.append(measure(args.probe, x, mode, threads, args.rounds))
        print(table(rows[-1:], threads).splitlines()[-1], flush=True)
    text = f"{args.size} x {args.size} values of {pathlib.Path(args.model).name}, hone / mlx {peer.mx.__version__}\n\n" + \
        table(rows, threads)
    print(text)
    if args.out:
        pathlib.Path(args.out).write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
