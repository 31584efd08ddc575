#!/usr/bin/env python3
"""Makes tests/data/formats/quantized: small checkpoints in the layouts of quantizing tools, each with the values that
numpy computes from codes, scales and zero points by the published layouts. MLX's own are written by the package mlx.

Usage: make_quantized_fixtures.py [OUT]     needs numpy, ml_dtypes, mlx"""
import json
import os
import shutil
import struct
import sys

import ml_dtypes
import mlx.core as mx
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "..", "data", "formats", "quantized")
rng = np.random.default_rng(20)
E4M3 = ml_dtypes.float8_e4m3fn
BF16 = ml_dtypes.bfloat16
NAMES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int32": "I32", "uint32": "U32", "int8": "I8", "uint8": "U8",
         "int64": "I64", "float8_e4m3fn": "F8_E4M3", "float8_e8m0fnu": "F8_E8M0"}
E2M1 = np.array([0, .5, 1, 1.5, 2, 3, 4, 6, -0., -.5, -1, -1.5, -2, -3, -4, -6], np.float32)
NF4 = np.array([-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
                -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
                0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1], np.float32)


def save(path, tensors):
    header, data = {}, b""
    for name, a in tensors.items():
        a = np.ascontiguousarray(a)
        header[name] = {"dtype": NAMES[a.dtype.name], "shape": list(a.shape), "data_offsets": [len(data), len(data) + a.nbytes]}
        data += a.tobytes()
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def case(name, tensors, expected, config, extra=None):
    """expected: {module: F32 values}."""
    folder = os.path.join(OUT, name)
    os.makedirs(folder)
    save(os.path.join(folder, "model.safetensors"), tensors)
    save(os.path.join(folder, "expected.safetensors"), {k + ".weight": v.astype(np.float32) for k, v in expected.items()})
    for file, content in {"config.json": config, **(extra or {})}.items():
        with open(os.path.join(folder, file), "w") as f:
            json.dump(content, f, indent=1)
            f.write("\n")


def stream(codes, bits):
    """Codes along the last axis as one stream of bits, lowest first, in uint32 words."""
    b = ((codes[..., None].astype(np.uint32) >> np.arange(bits, dtype=np.uint32)) & 1).astype(np.uint8)
    b = b.reshape(*codes.shape[:-1], -1)
    pad = -b.shape[-1] % 32
    b = np.concatenate([b, np.zeros((*b.shape[:-1], pad), np.uint8)], -1)
    return np.packbits(b, axis=-1, bitorder="little").view("<u4")


def words(codes, bits):
    """32 // bits codes a word."""
    per = 32 // bits
    pad = -codes.shape[-1] % per
    c = np.concatenate([codes, np.zeros((*codes.shape[:-1], pad), codes.dtype)], -1).astype(np.uint32)
    c = c.reshape(*c.shape[:-1], -1, per) << (np.arange(per, dtype=np.uint32) * bits)
    return np.bitwise_or.reduce(c, -1)


def spread(x, columns, group):
    return np.repeat(x, group, axis=-1)[..., :columns]


def scales_of(shape, dtype):
    return ((rng.random(shape) * 0.1 + 0.01) * rng.choice([-1, 1], shape)).astype(dtype)


# --- MLX: quantized by the package -------------------------------------------------------------------------------
def mlx_part(module, rows, columns, group, bits, mode, dtype, tensors, expected):
    w = mx.array(rng.standard_normal((rows, columns) if isinstance(rows, int) else (*rows, columns)).astype(np.float32)).astype(dtype)
    if mode == "affine":
        q, s, b = mx.quantize(w, group_size=group, bits=bits)
        value = mx.dequantize(q, s.astype(mx.float32), b.astype(mx.float32), group_size=group, bits=bits)
        parts = {"weight": q, "scales": s, "biases": b}
    else:
        q, s = mx.quantize(w, group_size=group, bits=bits, mode=mode)
        value = mx.dequantize(q, s, group_size=group, bits=bits, mode=mode).astype(mx.float32)
        parts = {"weight": q, "scales": s}
    tensors.update({f"{module}.{k}": v for k, v in parts.items()})
    expected[module] = np.array(value)


def mlx_case(name, parts, config, plain=()):
    tensors, expected = {}, {}
    for part in parts:
        mlx_part(*part, tensors, expected)
    for module, shape in plain:
        tensors[module] = mx.array(rng.standard_normal(shape).astype(np.float32))
    case(name, {}, expected, config)
    mx.save_safetensors(os.path.join(OUT, name, "model.safetensors"), tensors, {"format": "mlx"})


def mlx():
    for bits in (2, 3, 4, 5, 6, 8):
        group = {2: 32, 3: 64, 4: 128, 5: 32, 6: 64, 8: 128}[bits]
        dtype = {2: mx.float16, 3: mx.bfloat16, 4: mx.float32}.get(bits, mx.float16)
        q = {"group_size": group, "bits": bits}
        mlx_case(f"mlx-affine-{bits}", [("layer", 3, 256, group, bits, "affine", dtype)],
                 {"quantization": q, "quantization_config": q, "rope_theta": {"__float__": "Infinity"}}, [("norm.weight", (8,)), ("layer.bias", (3,))])
    for mode, group, bits in (("mxfp4", 32, 4), ("mxfp8", 32, 8), ("nvfp4", 16, 4)):
        mlx_case(f"mlx-{mode}", [("layer", 3, 192, group, bits, mode, mx.bfloat16)], {"quantization": {"group_size": group, "bits": bits, "mode": mode}})
    # Overrides by name, and one that only the shapes tell (older converters wrote none).
    mlx_case("mlx-mixed", [("a.proj", 4, 128, 64, 4, "affine", mx.float16), ("a.gate", 2, 128, 64, 8, "affine", mx.float16),
                           ("a.down", 2, 128, 32, 6, "affine", mx.float16), ("a.fp", 2, 128, 32, 4, "mxfp4", mx.float16),
                           ("a.experts", (3, 2), 64, 64, 4, "affine", mx.float16), ("a.guess", 2, 128, 64, 2, "affine", mx.float16)],
             {"quantization": {"group_size": 64, "bits": 4, "mode": "affine", "a.gate": {"group_size": 64, "bits": 8}, "a.proj": True,
                               "a.down": {"group_size": 32, "bits": 6, "mode": "affine"}, "a.plain": False,
                               "a.fp": {"group_size": 32, "bits": 4, "mode": "mxfp4"}}}, [("a.plain.weight", (2, 4))])


# --- GPTQ ----------------------------------------------------------------------------------------------------------
def gptq(name, bits, rows, columns, group, symmetric=True, version=1, order=None, scale_type=np.float16, qzeros=True, config=None, old=False):
    top, middle = (1 << bits) - 1, 1 << (bits - 1)
    g = columns if group == -1 else group
    groups = -(-columns // g)
    g_idx = np.arange(columns) // g
    if order is not None:
        g_idx = g_idx[order]
    q = rng.integers(0, top + 1, (rows, columns))
    z = np.full((groups, rows), middle) if symmetric else rng.integers(0, top + 1, (groups, rows))
    s = scales_of((groups, rows), scale_type)
    value = s.astype(np.float32).T[:, g_idx] * (q - z.T[:, g_idx]).astype(np.float32)
    stored = (z - 1) & top if version == 1 else z
    tensors = {"layer.qweight": stream(q, bits).T.astype(np.int32, copy=True).view(np.int32), "layer.scales": s,
               "layer.g_idx": g_idx.astype(np.int32), "layer.bias": np.zeros(rows, np.float16)}
    if qzeros:
        tensors["layer.qzeros"] = stream(stored, bits).view(np.int32)
    body = {"bits": bits, "group_size": group, "sym": symmetric, "desc_act": order is not None,
            "checkpoint_format": "gptq" if version == 1 else "gptq_v2", **(config or {})}
    if old:
        del body["checkpoint_format"]
        case(name, tensors, {"layer": value}, {}, {"quantize_config.json": body})
    else:
        case(name, tensors, {"layer": value}, {"quantization_config": {"quant_method": "gptq", **body}})


def awq(name, rows, columns, group, zeros=True):
    groups = columns // group
    q, z = rng.integers(0, 16, (rows, columns)), rng.integers(0, 16, (groups, rows))
    if not zeros:
        z[:] = 8
    s = scales_of((groups, rows), np.float16)
    value = s.astype(np.float32).T.repeat(group, 1) * (q - z.T.repeat(group, 1)).astype(np.float32)
    order = [0, 2, 4, 6, 1, 3, 5, 7]

    def pack(a):  # [.., out] -> words
        a = a.reshape(*a.shape[:-1], -1, 8)[..., order].astype(np.uint32) << (4 * np.arange(8, dtype=np.uint32))
        return np.bitwise_or.reduce(a, -1).view(np.int32)

    tensors = {"layer.qweight": pack(q.T), "layer.scales": s}
    if zeros:
        tensors["layer.qzeros"] = pack(z)
    case(name, tensors, {"layer": value}, {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": group, "zero_point": zeros, "version": "gemm"}})


# --- compressed-tensors ----------------------------------------------------------------------------------------------
def ct_config(format, **weights):
    return {"quantization_config": {"quant_method": "compressed-tensors", "format": format, "quantization_status": "compressed", "ignore": ["lm_head"],
                                    "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}}}


def ct_packed(name, bits, rows, columns, group, symmetric=True, dense=True, g_idx=None, scale_type=BF16):
    middle = 1 << (bits - 1)
    g = columns if group is None else group
    groups = -(-columns // g)
    column_group = np.arange(columns) // g if g_idx is None else g_idx
    q = rng.integers(-middle, middle, (rows, columns))
    z = np.zeros((rows, groups), int) if symmetric else rng.integers(-middle, middle, (rows, groups))
    s = scales_of((rows, groups), scale_type)
    value = s.astype(np.float32)[:, column_group] * (q - z[:, column_group]).astype(np.float32)
    pack = stream if dense else words
    tensors = {"layer.weight_packed": pack(q + middle, bits).view(np.int32), "layer.weight_scale": s, "layer.weight_shape": np.array([rows, columns], np.int64)}
    if not symmetric:
        tensors["layer.weight_zero_point"] = np.ascontiguousarray(pack((z + middle).T, bits).T).view(np.int32)
    if g_idx is not None:
        tensors["layer.weight_g_idx"] = g_idx.astype(np.int32)
    weights = {"num_bits": bits, "type": "int", "symmetric": symmetric, "strategy": "channel" if group is None else "group", "group_size": group}
    case(name, tensors, {"layer": value}, ct_config("pack-quantized", **weights))


def ct_plain():
    rows, columns = 6, 128
    q = rng.integers(-128, 128, (rows, columns)).astype(np.int8)
    s = scales_of((rows, 1), BF16)
    case("ct-int8-channel", {"layer.weight": q, "layer.weight_scale": s}, {"layer": s.astype(np.float32) * q.astype(np.float32)},
         ct_config("int-quantized", num_bits=8, type="int", symmetric=True, strategy="channel"))
    z = rng.integers(-128, 128, (rows, 1)).astype(np.int8)
    case("ct-int8-asymmetric", {"layer.weight": q, "layer.weight_scale": s, "layer.weight_zero_point": z, "layer.input_scale": np.float32([0.5])},
         {"layer": s.astype(np.float32) * (q.astype(np.float32) - z.astype(np.float32))},
         ct_config("int-quantized", num_bits=8, type="int", symmetric=False, strategy="channel"))
    one = np.array([0.0123], np.float32)
    case("ct-int8-tensor", {"layer.weight": q, "layer.weight_scale": one}, {"layer": one * q.astype(np.float32)},
         ct_config("naive-quantized", num_bits=8, type="int", symmetric=True, strategy="tensor"))
    f = rng.standard_normal((rows, columns)).astype(E4M3)
    for kind, scale in (("channel", scales_of((rows, 1), np.float32)), ("tensor", one)):
        case(f"ct-float8-{kind}", {"layer.weight": f, "layer.weight_scale": scale}, {"layer": scale * f.astype(np.float32)},
             ct_config("float-quantized", num_bits=8, type="float", symmetric=True, strategy=kind))
    f = rng.standard_normal((130, 32)).astype(E4M3)
    scale = scales_of((2, 1), BF16)
    full = np.repeat(np.repeat(scale.astype(np.float32), 128, 0), 128, 1)[:130, :32]
    case("ct-float8-block", {"layer.weight": f, "layer.weight_scale": scale}, {"layer": full * f.astype(np.float32)},
         ct_config("float-quantized", num_bits=8, type="float", symmetric=True, strategy="block", block_structure=[128, 128]))


def nibbles(codes):
    return (codes[..., ::2] | (codes[..., 1::2] << 4)).astype(np.uint8)


def fp4():
    rows, columns = 3, 96
    q = rng.integers(0, 16, (rows, columns))
    s16 = rng.uniform(0.1, 400, (rows, columns // 16)).astype(E4M3)
    e8 = rng.integers(110, 140, (rows, columns // 32)).astype(np.uint8)
    whole = np.array([700.5], np.float32)
    effective = s16.astype(np.float32) / whole
    weights = {"num_bits": 4, "type": "float", "symmetric": True}
    case("ct-nvfp4", {"layer.weight_packed": nibbles(q), "layer.weight_scale": s16, "layer.weight_global_scale": whole, "layer.input_global_scale": whole},
         {"layer": E2M1[q] * effective.repeat(16, 1)}, ct_config("nvfp4-pack-quantized", strategy="tensor_group", group_size=16, **weights))
    mx4 = E2M1[q] * np.exp2(e8.astype(np.float32) - 127).repeat(32, 1)
    case("ct-mxfp4", {"layer.weight_packed": nibbles(q), "layer.weight_scale": e8}, {"layer": mx4},
         ct_config("mxfp4-pack-quantized", strategy="group", group_size=32, **weights))
    f = rng.standard_normal((rows, columns)).astype(E4M3)
    case("ct-mxfp8", {"layer.weight": f, "layer.weight_scale": e8}, {"layer": f.astype(np.float32) * np.exp2(e8.astype(np.float32) - 127).repeat(32, 1)},
         ct_config("mxfp8-quantized", num_bits=8, type="float", symmetric=True, strategy="group", group_size=32))
    second = np.array(0.00021, np.float32)
    tensors = {"layer.weight": nibbles(q), "layer.weight_scale": s16, "layer.weight_scale_2": second, "layer.input_scale": second}
    value = E2M1[q] * (s16.astype(np.float32) * second).repeat(16, 1)
    case("modelopt-nvfp4", tensors, {"layer": value}, {"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16}})
    case("modelopt-old", tensors, {"layer": value}, {}, {"hf_quant_config.json": {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4", "group_size": 16}}})
    case("modelopt-fp8", {"layer.weight": f, "layer.weight_scale": second}, {"layer": second * f.astype(np.float32)},
         {"quantization_config": {"quant_method": "modelopt", "quant_algo": "FP8"}})


def fp8():
    f = rng.standard_normal((40, 144)).astype(E4M3)
    for name, scale in (("float", scales_of((2, 3), np.float32)), ("ue8m0", rng.integers(118, 130, (2, 3)).astype(np.uint8).view(ml_dtypes.float8_e8m0fnu))):
        full = np.repeat(np.repeat(scale.astype(np.float32), 32, 0), 64, 1)[:40, :144]
        case(f"fp8-block-{name}", {"layer.weight": f, "layer.weight_scale_inv": scale}, {"layer": full * f.astype(np.float32)},
             {"quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [32, 64]}})
    f, one = f[:4], np.array(0.031, np.float32)
    case("fp8-tensor", {"layer.weight": f, "layer.weight_scale_inv": one, "layer.activation_scale": one}, {"layer": one * f.astype(np.float32)},
         {"quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "static", "weight_block_size": None}})
    row = scales_of((4, 1), np.float32)
    case("fp8-row", {"layer.weight": f, "layer.weight_scale": row}, {"layer": row * f.astype(np.float32)}, {"quantization_config": {"quant_method": "fbgemm_fp8"}})


def bitsandbytes():
    rows, columns = 4, 192
    q = rng.integers(0, 16, rows * columns)
    packed = ((q[::2] << 4) | q[1::2]).astype(np.uint8)[:, None]
    blocks = rows * columns // 64
    absmax = rng.uniform(0.01, 0.2, blocks).astype(np.float32)
    fp4_map = np.array([0, .0052, .6667, 1, .3333, .5, .1667, .25, 0, -.0052, -.6667, -1, -.3333, -.5, -.1667, -.25], np.float32)

    def state(kind, **more):
        text = json.dumps({"quant_type": kind, "blocksize": 64, "dtype": "float16", "shape": [rows, columns], **more})
        return np.frombuffer(text.encode(), np.uint8)

    for kind, levels in (("nf4", NF4), ("fp4", fp4_map)):
        value = (levels[q].reshape(-1, 64) * absmax[:, None]).reshape(rows, columns)
        case(f"bnb-{kind}", {"layer.weight": packed, "layer.weight.absmax": absmax, "layer.weight.quant_map": levels,
                             f"layer.weight.quant_state.bitsandbytes__{kind}": state(kind)}, {"layer": value},
             {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": kind}})
    codes = rng.integers(0, 256, blocks).astype(np.uint8)
    nested_map, nested = np.linspace(-1, 1, 256, dtype=np.float32), rng.uniform(0.01, 0.1, -(-blocks // 256)).astype(np.float32)
    scale = nested_map[codes] * nested.repeat(256)[:blocks] + np.float32(0.04)
    case("bnb-nf4-double", {"layer.weight": packed, "layer.weight.absmax": codes, "layer.weight.quant_map": NF4, "layer.weight.nested_absmax": nested,
                            "layer.weight.nested_quant_map": nested_map,
                            "layer.weight.quant_state.bitsandbytes__nf4": state("nf4", nested_blocksize=256, nested_dtype="float32", nested_offset=0.04)},
         {"layer": (NF4[q].reshape(-1, 64) * scale[:, None]).reshape(rows, columns)},
         {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}})
    w, scb = rng.integers(-127, 128, (rows, 100)).astype(np.int8), rng.uniform(0.1, 2, rows).astype(np.float32)
    case("bnb-int8", {"layer.weight": w, "layer.SCB": scb, "layer.weight_format": np.array(0, np.uint8)},
         {"layer": w.astype(np.float32) * (scb / np.float32(127))[:, None]}, {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}})
    t = rng.integers(-1, 2, (8, 64))
    fields = (t + 1).reshape(4, 2, 64)
    case("bitnet", {"layer.weight": np.bitwise_or.reduce(fields << (2 * np.arange(4))[:, None, None], 0).astype(np.uint8), "layer.weight_scale": np.array([1.75], BF16)},
         {"layer": t.astype(np.float32) / np.float32(1.75)}, {"quantization_config": {"quant_method": "bitnet", "linear_class": "bitlinear", "quantization_mode": "offline"}})


def bitsandbytes_across():
    """Blocks of 64 through the flattened matrix that begin and end inside rows."""
    own = np.random.default_rng(64)
    for rows, columns in ((4, 96), (5, 40)):
        q = own.integers(0, 16, rows * columns)
        absmax = own.uniform(0.5, 2, -(-q.size // 64)).astype(np.float32)
        packed = (q[0::2] << 4 | q[1::2]).astype(np.uint8)[:, None]
        text = json.dumps({"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [rows, columns]})
        case(f"bnb-nf4-across-{columns}", {"layer.weight": packed, "layer.weight.absmax": absmax, "layer.weight.quant_map": NF4,
                                           "layer.weight.quant_state.bitsandbytes__nf4": np.frombuffer(text.encode(), np.uint8).copy()},
             {"layer": (NF4[q] * absmax.repeat(64)[:q.size]).reshape(rows, columns)},
             {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}})


if __name__ == "__main__":
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(OUT)
    mlx()
    for bits in (2, 3, 4, 8):
        gptq(f"gptq-{bits}", bits, 32, 64, 64)
        gptq(f"gptq-{bits}-zeros", bits, 32, 64, 32, symmetric=False)
    gptq("gptq-v2", 4, 8, 128, 128, version=2)
    gptq("gptq-v2-zeros", 4, 8, 128, 32, symmetric=False, version=2, scale_type=BF16)
    gptq("gptq-row", 4, 8, 160, -1)
    gptq("gptq-odd", 4, 8, 104, 64, symmetric=False)  # no group of the table divides the row
    gptq("gptq-act-order", 4, 8, 128, 32, order=rng.permutation(128))
    gptq("gptq-act-order-3", 3, 32, 64, 32, symmetric=False, order=rng.permutation(64))
    gptq("gptq-no-zeros", 4, 8, 64, 32, qzeros=False)
    gptq("gptq-declared-wrong", 4, 8, 64, 32, version=2, config={"checkpoint_format": "gptq"})
    gptq("gptq-old-file", 4, 8, 64, 32, old=True)
    awq("awq", 16, 128, 64)
    awq("awq-symmetric", 16, 128, 32, zeros=False)
    for bits in (2, 3, 4, 5, 6, 8):
        ct_packed(f"ct-pack-{bits}", bits, 5, 128, 32)
        ct_packed(f"ct-pack-{bits}-zeros", bits, 5, 128, 64, symmetric=False)
    for bits in (3, 5, 6):
        ct_packed(f"ct-pack-{bits}-words", bits, 5, 128, 32, dense=False)
        ct_packed(f"ct-pack-{bits}-words-zeros", bits, 37, 64, 64, symmetric=False, dense=False)
    ct_packed("ct-pack-channel", 4, 1, 96, None, scale_type=np.float16)
    ct_packed("ct-pack-odd", 4, 3, 100, 32, symmetric=False)
    ct_packed("ct-pack-act-order", 4, 4, 128, 32, g_idx=np.arange(128)[rng.permutation(128)] // 32)
    ct_plain()
    fp4()
    fp8()
    bitsandbytes()
    bitsandbytes_across()
