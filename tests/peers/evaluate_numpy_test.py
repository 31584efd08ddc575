#!/usr/bin/env python3
"""What `hone evaluate` reports, computed again by numpy in F64 from the logits that `hone run --input` saves.

usage: evaluate_numpy_test.py HONE. Exit code 77 (skipped) without numpy."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError as missing:
    print(f"skipped: {missing}; run scripts/setup --peers and configure with -DHONE_PEERS")
    sys.exit(77)

HONE = sys.argv[1]
os.environ["HONE_ACTIVATIONS"] = "f32"  # `evaluate` multiplies exactly, `run --input` as fast as `run` does
MODEL = pathlib.Path(__file__).resolve().parent.parent / "data/models/stories260K"
WINDOW = 64
STORY = ("Once upon a time, there was a {0} {1} named Tim. Tim liked to {2} in the {3}. One day he saw a {1} who was very {4}. "
         "He said, \"Why are you {4}?\" The {1} did not know. So they went to {2} and both were {0} again.\n")
WORDS = [("little", "boy", "play", "park", "sad"), ("big", "dog", "run", "garden", "tired"), ("happy", "bird", "sing", "tree", "cold"),
         ("red", "car", "drive", "street", "slow"), ("kind", "cat", "sleep", "house", "hungry"), ("brave", "fish", "swim", "sea", "lost")]


def run(*arguments):
    return subprocess.run([HONE, *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True).stdout


def log_softmax(x):
    x = x.astype(np.float64)
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def logits_of(model, window, work):
    np.save(work / "ids.npy", np.array([window], dtype=np.int64))
    run("run", model, "--input", f"input_ids={work / 'ids.npy'}", "--output", work / "out.npz", "--quiet")
    out = np.load(work / "out.npz")["logits"]
    assert out.shape[:2] == (1, len(window)), out.shape
    return out[0]


def main():
    failures = 0

    def near(name, got, want, relative=2e-4, absolute=2e-6):
        nonlocal failures
        good = abs(got - want) <= absolute + relative * abs(want)
        failures += not good
        print(f"{'ok' if good else 'FAILED'}: {name}: hone {got:.8g}, numpy {want:.8g}")

    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        text = work / "text.txt"
        text.write_text("".join(STORY.format(*w) for w in WORDS))
        small = work / "small.gguf"
        run("quantize", MODEL, "Q4_0", small, "--quiet")
        report = json.loads(run("evaluate", small, "--reference", MODEL, "--text", text, "--window", WINDOW, "--json", "--quiet"))
        alone = json.loads(run("evaluate", small, "--text", text, "--window", WINDOW, "--json", "--quiet"))

        ids = json.loads(run("tokenize", MODEL, "--file", text, "--json"))["ids"]
        windows = [ids[i:i + WINDOW] for i in range(0, len(ids) - WINDOW + 1, WINDOW)]
        assert len(windows) >= 4, len(windows)
        nll, reference_nll, kl, same = [], [], [], []
        for window in windows:
            window = [ids[0]] + window[1:]  # BOS, which the tokenizer of this model adds
            q, p = (log_softmax(logits_of(m, window, work)) for m in (small, MODEL))
            for at in range(WINDOW // 2, WINDOW - 1):
                nll.append(-q[at, window[at + 1]])
                reference_nll.append(-p[at, window[at + 1]])
                kl.append(float((np.exp(p[at]) * (p[at] - q[at])).sum()))
                same.append(float(p[at].argmax() == q[at].argmax()))

        n = len(nll)
        error = lambda values: float(np.std(values) / np.sqrt(n - 1))
        assert report["tokens"] == n, (report["tokens"], n)
        near("perplexity", report["perplexity"]["value"], np.exp(np.mean(nll)))
        near("its error", report["perplexity"]["error"], np.exp(np.mean(nll)) * error(nll), 1e-3)
        near("perplexity of the reference", report["reference_perplexity"]["value"], np.exp(np.mean(reference_nll)))
        near("perplexity alone", alone["perplexity"]["value"], report["perplexity"]["value"], 1e-6)
        divergence = report["kl_divergence"]
        assert np.mean(kl) > 1e-3, "the quantized model must differ"
        near("mean KL", divergence["mean"]["value"], np.mean(kl), 1e-3)
        near("its error", divergence["mean"]["error"], error(kl), 1e-3)
        near("median KL", divergence["median"]["value"], np.median(kl), 1e-3)
        near("99 % KL", divergence["p99"]["value"], np.quantile(kl, 0.99), 1e-3)
        near("99.9 % KL", divergence["p99_9"]["value"], np.quantile(kl, 0.999), 1e-3)
        near("largest KL", divergence["max"], np.max(kl), 1e-3)
        near("same top-1", report["same_top1"]["value"], np.mean(same), 0, 1.5 / n)
        near("its error", report["same_top1"]["error"], error(same), 0.1)
    sys.exit(1 if failures else 0)


main()
