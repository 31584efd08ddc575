#!/usr/bin/env python3
"""Size against KL divergence, hone beside llama.cpp's own quantizer, both judged by llama-perplexity.

  bench/quality.py BASE --calibration CALIBRATION.txt --text TEST.txt [--sizes 78,92,103,112] [--hone PATH] [--out FILE.md]

BASE is a BF16 or F16 GGUF (or, for hone only, an HF directory given with --hf). llama.cpp's files get an importance
matrix from the same calibration text. Prints a markdown table; for each size the best file of llama.cpp that
is not larger, and hone's file.
"""
import argparse
import pathlib
import subprocess
import tempfile
import time

import llama_tools

FILES = [("IQ4_NL", True), ("Q4_1", True), ("IQ4_NL", False), ("Q3_K_M", False), ("Q5_0", True), ("Q4_K_S", False),
         ("Q5_1", True), ("Q4_K_M", False), ("Q5_K_M", False), ("Q6_K", False), ("Q8_0", False)]


def megabytes(path) -> float:
    return pathlib.Path(path).stat().st_size / 1e6


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("base", type=pathlib.Path)
    p.add_argument("--hf", type=pathlib.Path, help="the same model as an HF directory: hone optimizes this one too")
    p.add_argument("--calibration", type=pathlib.Path, required=True)
    p.add_argument("--text", type=pathlib.Path, required=True)
    p.add_argument("--sizes", default="78,92,103,112")
    p.add_argument("--chunks", type=int, default=16)
    p.add_argument("--hone", default="hone")
    p.add_argument("--default-calibration", action="store_true", help="hone calibrates on the model's own text")
    p.add_argument("--files", default=",".join(("pure:" if pure else "") + kind for kind, pure in FILES),
                   help="llama.cpp's files: types of llama-quantize, with 'pure:' in front for --pure; empty: none")
    p.add_argument("--out", type=pathlib.Path)
    a = p.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        logits = work / "base.kld"
        llama_tools.save_logits(a.base, a.text, a.chunks, logits)
        rows = []
        if a.files:
            llama_tools.run("llama-imatrix", "-m", a.base, "-f", a.calibration, "-o", work / "imatrix.gguf", "-c", 512, "--chunks", 32)
            for name in a.files.split(","):
                kind, pure = name.removeprefix("pure:"), name.startswith("pure:")
                out = work / "llama.gguf"
                llama_tools.run("llama-quantize", *(["--pure"] if pure else []), "--imatrix", work / "imatrix.gguf", a.base, out, kind)
                rows.append(("llama.cpp", f"all {kind}" if pure else kind, megabytes(out), llama_tools.divergence(out, a.text, a.chunks, logits), 0))
                print(rows[-1], flush=True)
        for size in filter(None, a.sizes.split(",")):
            for source in [a.base] + ([a.hf] if a.hf else []):
                out = work / "hone.gguf"
                start = time.time()
                calibration = [] if a.default_calibration else ["--calibration", a.calibration]
                subprocess.run([a.hone, "optimize", source, "--max-size", f"{size}MB", *calibration, "-o", out, "--quiet", "--no-speed"],
                               check=True, stdout=subprocess.DEVNULL)
                name = "hone" if source == a.base else "hone (HF)"
                rows.append((name, f"--max-size {size}MB", megabytes(out), llama_tools.divergence(out, a.text, a.chunks, logits), time.time() - start))
                print(rows[-1], flush=True)
        rows.sort(key=lambda r: r[2])
        lines = ["| tool | file | MB | mean KL divergence | 99.9 % | same top-1 | s |", "|---|---|---|---|---|---|---|"]
        for tool, name, size, d, seconds in rows:
            lines.append(f"| {tool} | {name} | {size:.1f} | {d['kl']:.4f} ± {d['kl_error']:.4f} | {d['kl_999']:.2f} | {d['top1']:.1f} % | "
                         f"{f'{seconds:.0f}' if seconds else ''} |")
        table = "\n".join(lines)
        print(table)
        if a.out:
            a.out.write_text(table + "\n")


if __name__ == "__main__":
    main()
