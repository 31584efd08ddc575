#!/usr/bin/env python3
"""What `hone convert` writes computes the reference's logits in unmodified llama.cpp, and comes back unchanged.

usage: convert_test.py HONE. Exit code 77 (skipped) when the packages are not there. With HONE_MODEL (SmolLM2 as GGUF)
in the environment, `hone run --input` is held against llama.cpp on it too.
"""
import json
import os
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

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "models")
# llama.cpp keeps keys and values in F16; its llama architecture knows no sliding window, so that prompt stays inside it.
CASES = {"llama": 48, "llama3-rope": 48, "mistral-swa": 16, "stories260K": 16}
TOLERANCE = 0.05  # logits have a standard deviation near 2.5; measured 0.010 to 0.019


def check_golden(hone, llama, name, length, folder):
    source, gguf, back = os.path.join(DATA, name), f"{folder}/{name}.gguf", f"{folder}/{name}-hf"
    subprocess.run([hone, "convert", source, gguf], check=True, stdout=subprocess.DEVNULL)
    golden = load_file(f"{source}/golden.safetensors")
    ids = golden["input_ids"].reshape(-1)[:length]
    difference = np.abs(llama_logits(llama, gguf, ids) - golden["logits"][:length]).max()
    assert difference < TOLERANCE, f"{name}: llama.cpp differs from the reference by {difference}"

    subprocess.run([hone, "convert", gguf, back], check=True, stdout=subprocess.DEVNULL)
    before, after = load_file(f"{source}/model.safetensors"), load_file(f"{back}/model.safetensors")
    assert before.keys() == after.keys(), f"{name}: {before.keys() ^ after.keys()}"
    for key in before:
        assert before[key].dtype == after[key].dtype and np.array_equal(before[key], after[key]), f"{name}: {key}"
    with open(f"{source}/config.json") as a, open(f"{back}/config.json") as b:
        before, after = json.load(a), json.load(b)
    skipped = {"attention_dropout", "initializer_range", "pretraining_tp", "transformers_version", "pad_token_id", "torch_dtype"}
    if not os.path.exists(f"{back}/tokenizer.json"):
        skipped |= {"bos_token_id", "eos_token_id"}
    wrong = {key for key in before.keys() - skipped if before[key] != after.get(key)}
    assert not wrong, f"{name}: config.json differs in {wrong}"
    print(f"{name}: llama.cpp within {difference:.4f} of the reference, there and back unchanged")


def check_model(hone, llama, path, folder):
    ids = np.random.default_rng(1).integers(100, 40000, 64)
    np.save(f"{folder}/ids.npy", ids.reshape(1, -1))
    subprocess.run([hone, "run", path, "--input", f"input_ids={folder}/ids.npy", "--output", f"{folder}/out.npz"], check=True,
                   stdout=subprocess.DEVNULL)
    ours, theirs = np.load(f"{folder}/out.npz")["logits"][0], llama_logits(llama, path, ids)
    relative = np.sqrt(np.mean((ours - theirs) ** 2)) / theirs.std()
    # llama.cpp rounds activations to 8 bits in products with 4-bit weights; measured 0.033 on text, 0.071 here
    assert relative < 0.12, f"{path}: relative difference {relative}"
    print(f"{os.path.basename(path)}: relative difference to llama.cpp {relative:.4f}")


def main():
    hone, llama = sys.argv[1], llama_library()
    with tempfile.TemporaryDirectory() as folder:
        for name, length in CASES.items():
            check_golden(hone, llama, name, length, folder)
        if os.environ.get("HONE_MODEL"):
            check_model(hone, llama, os.environ["HONE_MODEL"], folder)


if __name__ == "__main__":
    main()
