#!/usr/bin/env python3
"""Directories that hone writes in the layouts of other tools, loaded by unmodified mlx-lm: both speak the same tokens.
mlx-lm computes in F32 here (Module.set_dtype), as hone does, so that near ties fall alike. About a token a second.
Of compressed-tensors mlx-lm reads 4 bits in groups of 32, and in a few families only (it renames the parts in their
`sanitize`); the same renaming is done here. GPTQ, which it reads as AWQ, is held against compressed-tensors in numpy.

Usage: layouts_test.py HONE LAYOUT_PROBE      HONE_MODEL: SmolLM2 as GGUF; needs mlx-lm, gguf"""
import json
import os
import subprocess
import sys
import tempfile

try:
    import gguf
    import mlx.core as mx
    import numpy as np
    from mlx_lm import load
    from mlx_lm.generate import generate_step
except ImportError:
    print("skipped: the packages mlx-lm and gguf are not installed")
    sys.exit(77)

HONE, PROBE = sys.argv[1], sys.argv[2]
MODEL = os.environ.get("HONE_MODEL", "")
if not os.path.exists(MODEL):
    print("skipped: HONE_MODEL names no file")
    sys.exit(77)
PROMPT = "The capital of France is"
TOKENS = 8


def spoken_by_mlx(folder):
    model, tokenizer = load(folder)
    model.set_dtype(mx.float32)
    ids = []
    for token, _ in generate_step(mx.array(tokenizer.encode(PROMPT)), model, max_tokens=TOKENS):
        if int(token) in tokenizer.eos_token_ids:
            break
        ids.append(int(token))
    return tokenizer.decode(ids)


def spoken_by_hone(model):
    return subprocess.run([HONE, "run", model, PROMPT, "--raw", "-n", str(TOKENS), "--temperature", "0"], capture_output=True, text=True, check=True).stdout


def renamed_parts(folder):
    """weight_packed, weight_scale as weight, scales, biases: what deepseek_v3's sanitize does."""
    path = os.path.join(folder, "model.safetensors")
    weights, out = mx.load(path), {}
    for name, value in weights.items():
        module = name.rsplit(".", 1)[0]
        if name.endswith(".weight_packed"):
            out[module + ".weight"], out[module + ".scales"] = value.view(mx.uint32), weights[module + ".weight_scale"]
            out[module + ".biases"] = -8 * weights[module + ".weight_scale"]
        elif not name.endswith((".weight_shape", ".weight_scale")):
            out[name] = value
    mx.eval(out)
    mx.save_safetensors(path, out, {"format": "mlx"})


def same_values_in_gptq():
    with tempfile.TemporaryDirectory() as folder:
        for layout in ("gptq", "compressed-tensors"):
            subprocess.run([PROBE, MODEL, layout, os.path.join(folder, layout), "INT4_G32_F16_ZERO"], check=True, capture_output=True)
        gptq, ct = (mx.load(os.path.join(folder, layout, "model.safetensors")) for layout in ("gptq", "compressed-tensors"))
        shifts = np.arange(8, dtype=np.uint32) * 4
        checked = 0
        for name in gptq:
            if not name.endswith(".qweight"):
                continue
            module = name.rsplit(".", 1)[0]
            part = lambda suffix: np.array(gptq[module + suffix])
            q = (part(".qweight").view(np.uint32)[:, None, :] >> shifts[None, :, None] & 15).reshape(-1, part(".qweight").shape[1])  # [in, out]
            z = ((part(".qzeros").view(np.uint32)[:, :, None] >> shifts) & 15).reshape(part(".qzeros").shape[0], -1) + 1 & 15
            groups = part(".g_idx")
            a = part(".scales").astype(np.float32)[groups] * (q.astype(np.float32) - z[groups])
            part = lambda suffix: np.array(ct[module + suffix])
            q = ((part(".weight_packed").view(np.uint32)[:, :, None] >> shifts) & 15).reshape(a.shape[1], -1)
            z = (part(".weight_zero_point").view(np.uint32)[:, None, :] >> shifts[None, :, None] & 15).reshape(q.shape[0], -1)
            b = part(".weight_scale").astype(np.float32).repeat(32, 1) * (q.astype(np.float32) - z.repeat(32, 1))
            assert np.array_equal(a.T, b), f"{module}: GPTQ and compressed-tensors hold different values"
            checked += 1
        assert checked > 0
        print(f"gptq and compressed-tensors: {checked} matrices, the same values in numpy")


def there_and_back():
    """GGUF, MLX, GGUF through hone convert: every tensor the same bytes."""
    with tempfile.TemporaryDirectory() as folder:
        middle, last = os.path.join(folder, "mlx"), os.path.join(folder, "last.gguf")
        for command in ([MODEL, middle, "--to", "mlx"], [middle, last]):
            subprocess.run([HONE, "convert", *command], check=True, capture_output=True)
        a, b = ({t.name: t for t in gguf.GGUFReader(path).tensors} for path in (MODEL, last))
        assert a.keys() == b.keys(), a.keys() ^ b.keys()
        for name in a:
            assert a[name].tensor_type == b[name].tensor_type and np.array_equal(a[name].data, b[name].data), name
        print(f"GGUF, MLX, GGUF: {len(a)} tensors, the same bytes")


def case(layout, *formats, same_as_source=False):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "model")
        subprocess.run([PROBE, MODEL, layout, out, *formats], check=True, capture_output=True)
        ours = spoken_by_hone(out)
        if layout == "compressed-tensors":
            renamed_parts(out)
        theirs = spoken_by_mlx(out)
        config = json.load(open(os.path.join(out, "config.json")))
        assert "quantization_config" in config
        if layout == "mlx":
            assert config["quantization"] == config["quantization_config"]
            assert os.path.exists(os.path.join(out, "model.safetensors.index.json"))
    assert ours.strip() == theirs.strip(), f"{layout} {formats}: hone says {ours!r}, mlx-lm {theirs!r}"
    if same_as_source:
        source = spoken_by_hone(MODEL)
        assert ours == source, f"{layout}: the source says {source!r}, the copy {ours!r}"
    print(f"{layout} {' '.join(formats) or '(lossless)'}: {ours.strip()!r}")


there_and_back()
case("mlx", same_as_source=True)
case("mlx", "INT4_G64_F16_BIAS", "INT8_G32_F16_BIAS")  # overrides per layer
case("mlx", "E2M1_G32_E8M0")
case("compressed-tensors", "INT4_G32_F16_SYM")
same_values_in_gptq()
print("ok")
