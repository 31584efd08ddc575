#!/usr/bin/env python3
"""The main job on a real model: optimize, replay the recipe, load and speak in unmodified llama.cpp.

  main_job.py HONE_BINARY [MODEL] [--size 80MB] [--calibration-tokens 1024]

MODEL defaults to the environment variable HONE_MODEL; without either the test is skipped (exit code 77).
"""
import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile


def sha256(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check(condition, message: str) -> None:
    if not condition:
        sys.exit(f"FAILED: {message}")
    print(f"ok: {message}")


def speaks_in_llama_cpp(path: pathlib.Path) -> None:
    try:
        import xllamacpp
    except ImportError:
        print("skipped: llama.cpp (PyPI xllamacpp) is not installed")
        return
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = 512
    params.cpuparams.n_threads = 2
    server = xllamacpp.Server(params)
    answer = server.handle_chat_completions({"messages": [{"role": "user", "content": "What is the capital of France?"}],
                                             "max_tokens": 40, "temperature": 0})
    text = answer["choices"][0]["message"]["content"]
    print("llama.cpp says:", text)
    check("Paris" in text, "the file loads and answers in unmodified llama.cpp")


def main() -> None:
    p = argparse.ArgumentParser()
    p.add_argument("hone")
    p.add_argument("model", nargs="?", default=os.environ.get("HONE_MODEL"))
    p.add_argument("--size", default="80MB")
    p.add_argument("--calibration-tokens", default="1024")
    a = p.parse_args()
    if not a.model:
        print("skipped: no model; set HONE_MODEL to a GGUF of SmolLM2")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        out = work / "small.gguf"
        common = ["--calibration-tokens", a.calibration_tokens, "--evaluation-tokens", "1024", "--trial-tokens", "128",
                  "--search-tokens", "256", "--swap-trials", "4", "--threads", "2"]
        subprocess.run([a.hone, "optimize", a.model, "--max-size", a.size, "-o", out, *common], check=True)
        limit = float(a.size.removesuffix("MB")) * 1e6
        check(out.stat().st_size <= limit, f"{out.stat().st_size} bytes are within {a.size}")
        check(out.stat().st_size > 0.97 * limit, "the budget is used")
        report = json.loads((work / "small.report.json").read_text())
        check(report["output"]["sha256"] == sha256(out), "the report has the output's hash")
        check(report["input"]["sha256"] == sha256(pathlib.Path(a.model)), "the report has the input's hash")
        check(0 < report["quality"]["kl_divergence"]["mean"]["value"] < 0.5,
              f"KL divergence {report['quality']['kl_divergence']['mean']['value']}")
        chosen = [c for c in report["candidates"] if c["chosen"]]
        check(len(chosen) == 1 and len(report["candidates"]) > 8, "candidates are measured and one is chosen")
        page = (work / "small.report.html").read_text()
        check("<svg" in page and "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page,
              "the page is self-contained")
        replay = work / "again.gguf"
        subprocess.run([a.hone, "optimize", a.model, "--recipe", work / "small.recipe.yaml", "-o", replay, "--no-speed", *common],
                       check=True, stdout=subprocess.DEVNULL)
        check(sha256(replay) == sha256(out), "the recipe replays to the same bytes")
        left = sorted(f.name for f in work.iterdir())
        check(not [f for f in left if "part" in f or "tmp" in f], f"nothing half-written is left: {left}")
        speaks_in_llama_cpp(out)


if __name__ == "__main__":
    main()
