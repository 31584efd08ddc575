#!/usr/bin/env python3
"""Prefill and decode of OpenVINO GenAI on a GGUF file, for bench/compare. Installs its own environment (PyPI) when missing.

  bench/peers_openvino.py MODEL.gguf THREADS [REPETITIONS]

Prints JSON: tokens per second of a prompt of about 512 tokens and of 128 greedy tokens, load seconds, peak memory in MB. It
converts the GGUF when loading; of GGUF's types it reads F16, Q8_0, Q4_0, Q4_1, Q6_K and the mixes of those.
"""
import json
import os
import resource
import statistics
import subprocess
import sys
import time
import venv

import llama_tools

VERSION, RUNTIME = "2026.4.0.0", "2026.4.0"  # the former loads the library of just this version


def python():
    root = llama_tools.cache_dir() / "peers-openvino" if "HONE_OPENVINO" not in os.environ else llama_tools.pathlib.Path(os.environ["HONE_OPENVINO"])
    if not (root / "bin/python").exists():
        venv.create(root, with_pip=True)
        subprocess.run([root / "bin/pip", "install", "--quiet", f"openvino-genai=={VERSION}", f"openvino=={RUNTIME}"], check=True)
    return root / "bin/python"


def speed(model: str, threads: int, repetitions: int) -> dict:
    """Runs in this process; llama_tools is not needed here."""
    import openvino_genai
    start = time.perf_counter()
    pipe = openvino_genai.LLMPipeline(model, "CPU", INFERENCE_NUM_THREADS=threads)
    load = time.perf_counter() - start
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens, config.ignore_eos, config.do_sample, config.apply_chat_template = 129, True, False, False
    tokenizer = pipe.get_tokenizer()

    def prompt(seed: int) -> str:
        words, count = [str((seed * 7919 + i * 104729) % 9973) for i in range(512)], 512
        while tokenizer.encode(" ".join(words[:count])).input_ids.shape[1] > 512:
            count -= 1
        return " ".join(words[:count])

    prefill, decode = [], []
    for i in range(repetitions + 1):
        # A new text each time: the beginnings of prompts are remembered.
        metrics = pipe.generate([prompt(i)], config).perf_metrics
        if i:
            prefill.append(metrics.get_num_input_tokens() / metrics.get_ttft().mean * 1e3)
            decode.append(1e3 / metrics.get_tpot().mean)
    return {"prefill": statistics.median(prefill), "decode": statistics.median(decode), "load_seconds": load,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6}


def measure(model, threads: int, repetitions: int = 3) -> dict:
    out = subprocess.run([str(python()), __file__, "--inside", str(model), str(threads), str(repetitions)], check=True,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return json.loads(out.splitlines()[-1])


if __name__ == "__main__":
    if sys.argv[1] == "--inside":
        print(json.dumps(speed(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
    else:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 3)))
