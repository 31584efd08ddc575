#!/usr/bin/env python3
"""hone beside llama.cpp on the same file: prefill of 512 tokens, decode of 128, in alternation.

  bench/speed.py MODEL.gguf [MODEL2.gguf ...] [--threads 2] [--rounds 3] [--hone PATH] [--out FILE.md]

Machines are noisy: every round runs both, and the ratio is taken round by round. Prints a markdown table of medians with
the ratio's spread.
"""
import argparse
import json
import pathlib
import statistics
import subprocess

import llama_tools


def hone_speed(hone: str, model: str, threads: int) -> tuple[float, float]:
    out = subprocess.run([hone, "bench", model, "--json", "--threads", str(threads), "--repetitions", "3"], check=True,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    result = json.loads(out)
    speed = result.get("speed", result)
    return speed["prefill_tokens_per_second"]["median"], speed["decode_tokens_per_second"]["median"]


def llama_speed(model: str, threads: int) -> tuple[float, float]:
    out = llama_tools.run("llama-bench", "-m", model, "-t", threads, "-p", 512, "-n", 128, "-r", 3, "-o", "json")
    rows = json.loads(out[out.index("["):out.rindex("]") + 1])
    prefill = next(r["avg_ts"] for r in rows if r["n_prompt"] == 512 and r["n_gen"] == 0)
    decode = next(r["avg_ts"] for r in rows if r["n_gen"] == 128 and r["n_prompt"] == 0)
    return prefill, decode


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", nargs="+")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--hone", default="hone")
    p.add_argument("--out", type=pathlib.Path)
    a = p.parse_args()
    lines = ["| file | phase | hone tokens/s | llama.cpp tokens/s | ratio (min to max) |", "|---|---|---|---|---|"]
    for model in a.models:
        ours, theirs = [], []
        for _ in range(a.rounds):
            ours.append(hone_speed(a.hone, model, a.threads))
            theirs.append(llama_speed(model, a.threads))
        for i, phase in enumerate(("prefill 512", "decode 128")):
            ratios = [o[i] / t[i] for o, t in zip(ours, theirs)]
            lines.append(f"| {pathlib.Path(model).name} | {phase} | {statistics.median(o[i] for o in ours):.0f} | "
                         f"{statistics.median(t[i] for t in theirs):.0f} | {statistics.median(ratios):.2f} "
                         f"({min(ratios):.2f} to {max(ratios):.2f}) |")
    table = "\n".join(lines)
    print(table)
    if a.out:
        a.out.write_text(table + "\n")


if __name__ == "__main__":
    main()
