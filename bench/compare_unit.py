"""One round of one row of bench/compare, as a process of its own: hone and a peer after each other on the same file.
Prints a JSON object; which of the two goes first is the caller's choice, so that rounds alternate."""
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import llama_tools
import peers_openvino

PROMPT = "Once upon a time"
DEPTH, SEQUENCES = 4096, 8


class Setup:
    """hone: the program; model: a GGUF; threads; isa: "" or what both are restricted to."""

    def __init__(self, row, hone, model, threads, isa, repetitions, extra):
        self.row, self.hone, self.model, self.isa, self.extra = row, hone, model, isa, extra
        self.threads, self.repetitions = int(threads), int(repetitions)
        self.tools = llama_tools.tools_dir(isa)
        self.env = dict(os.environ, HONE_ISA=isa) if isa else dict(os.environ)

    def out(self, command) -> str:
        return subprocess.run([str(c) for c in command], check=True, env=self.env, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, errors="replace").stdout

    def hone_bench(self, *options) -> dict:
        return json.loads(self.out([self.hone, "bench", self.model, "--json", "-t", self.threads, "-r", self.repetitions, *options]))

    def llama_bench(self, *options) -> list[dict]:
        out = self.out([self.tools / "llama-bench", "-m", self.model, "-t", self.threads, "-r", self.repetitions, "-o", "json", *options])
        return json.loads(out[out.index("["):out.rindex("]") + 1])

    def seconds(self, command) -> float:
        start = time.perf_counter()
        self.out(command)
        return time.perf_counter() - start


def hone_plain(s, prefill=512, decode=128):
    r = s.hone_bench("-p", prefill, "-n", decode)
    return {"prefill": r["prefill_tokens_per_second"]["median"], "decode": r["decode_tokens_per_second"]["median"],
            "bandwidth_share": r["decode_bandwidth_share"], "arithmetic_share": r["prefill_arithmetic_share"],
            "bandwidth": r["read_bandwidth_bytes_per_second"],
            "peak_mb": r["peak_memory_bytes"] / 1e6, "rest_mb": r["rest_memory_bytes"] / 1e6}


def llama_plain(s, prefill=512, decode=128):
    rows = s.llama_bench("-p", prefill, "-n", decode)
    return {"prefill": next(r["avg_ts"] for r in rows if r["n_prompt"]), "decode": next(r["avg_ts"] for r in rows if r["n_gen"])}


def hone_depth(s):
    r = s.hone_bench("-p", 16, "-n", 32, "--depth", DEPTH)
    return {"decode": r["decode_tokens_per_second"]["median"], "bandwidth_share": r["decode_bandwidth_share"]}


def llama_depth(s):
    return {"decode": s.llama_bench("-p", 0, "-n", 32, "-d", DEPTH, "-fa", 1)[0]["avg_ts"]}


def hone_sequences(s):
    return {"decode": s.hone_bench("-p", 16, "-n", 64, "--depth", 16, "--sequences", SEQUENCES)["decode_tokens_per_second"]["median"]}


def llama_sequences(s):
    best = 0
    for attention in ("on", "off"):
        out = s.out([s.tools / "llama-batched-bench", "-m", s.model, "-t", s.threads, "-c", 2048, "-npp", 16, "-ntg", 64,
                     "-npl", SEQUENCES, "-fa", attention, "--output-format", "jsonl"])
        best = max([best] + [json.loads(line)["speed_tg"] for line in out.splitlines() if line.startswith("{")])
    return {"decode": best}


def hone_start(s):
    command = [s.hone, "run", s.model, PROMPT, "--raw", "-n", 1, "--temperature", 0, "--quiet", "-t", s.threads]
    return {"seconds": statistics.median(s.seconds(command) for _ in range(s.repetitions))}


def llama_start(s):
    command = [s.tools / "llama-completion", "-m", s.model, "-p", PROMPT, "-n", 1, "--no-warmup", "-no-cnv", "--temp", 0, "-t", s.threads]
    return {"seconds": statistics.median(s.seconds(command) for _ in range(s.repetitions))}


# Highest resident size of a process that reads a prompt of 512 tokens and writes 128; a mapped file's pages that were read
# count, in both programs.
def hone_memory(s):
    r = s.hone_bench("-p", 512, "-n", 128)
    return {"peak_mb": r["peak_memory_bytes"] / 1e6, "file_mb": r["file_bytes"] / 1e6, "cache_mb": r["cache_bytes"] / 1e6,
            "rest_mb": r["rest_memory_bytes"] / 1e6}


def llama_memory(s):
    command = [s.tools / "llama-bench", "-m", s.model, "-t", s.threads, "-r", 1, "-p", 512, "-n", 128]
    child = subprocess.Popen([str(c) for c in command], env=s.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise RuntimeError(f"llama-bench failed with {child.returncode}")
    return {"peak_mb": usage.ru_maxrss * 1024 / 1e6}


def while_spinning(measure, s):
    spin = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        time.sleep(0.2)
        return measure(s)
    finally:
        for p in spin:
            p.kill()
            p.wait()


def busy(measure):
    def both(s):
        few = lambda setup: measure(setup, 256, 32)  # noqa: E731  a crowded llama.cpp is slow
        alone, crowded = few(s), while_spinning(few, s)
        return {phase: crowded[phase] / alone[phase] for phase in ("prefill", "decode")}
    return both


def hone_quantize(s):
    return timed_file(s, lambda out: [s.hone, "quantize", "--pure", *imatrix(s), s.model, s.extra[0], out, "--threads", s.threads])


def llama_quantize(s):
    return timed_file(s, lambda out: [s.tools / "llama-quantize", "--pure", *imatrix(s), s.model, out, s.extra[0], s.threads])


def openvino(s):
    return peers_openvino.measure(s.model, s.threads, s.repetitions)


def imatrix(s):
    return ["--imatrix", s.extra[1]] if len(s.extra) > 1 else []


def timed_file(s, command):
    with tempfile.TemporaryDirectory() as folder:
        return {"seconds": s.seconds(command(pathlib.Path(folder) / "out.gguf"))}


ROWS = {"plain": (hone_plain, llama_plain), "depth": (hone_depth, llama_depth), "sequences": (hone_sequences, llama_sequences),
        "start": (hone_start, llama_start), "memory": (hone_memory, llama_memory), "busy": (busy(hone_plain), busy(llama_plain)),
        "quantize": (hone_quantize, llama_quantize), "openvino": (hone_plain, openvino)}


def main():
    row, first, hone, model, threads, isa, repetitions, *extra = sys.argv[1:]
    setup = Setup(row, hone, model, threads, "" if isa == "-" else isa, repetitions, extra)
    ours, theirs = ROWS[row]
    if first == "hone":
        a, b = ours(setup), theirs(setup)
    else:
        b = theirs(setup)
        a = ours(setup)
    print(json.dumps({"hone": a, "peer": b}))


if __name__ == "__main__":
    main()
