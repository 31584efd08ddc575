#!/usr/bin/env python3
"""Makes the committed fixtures under tests/data/formats with the reference packages.

Needs gguf, safetensors, numpy, ml_dtypes and xllamacpp (llama.cpp's library, called through ctypes).
codecs/: <format>.dec = random blocks and the F32 values the reference decodes them to;
         <format>.enc = the reference's encoding of input.f32 (see pack()).
gguf/, safetensors/: files written by the packages, with expected.json beside them.
"""
import ctypes
import glob
import hashlib
import json
import os
import struct
import sys

import gguf
import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy
import xllamacpp

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "formats")
Q = gguf.GGMLQuantizationType
rng = np.random.default_rng(20261)
ggml = ctypes.CDLL(glob.glob(os.path.join(os.path.dirname(xllamacpp.__file__), "*.so"))[0])

# name: (ggml type id, values a block, bytes a block)
BLOCK = {"Q8_0": (8, 32, 34), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24),
         "Q2_K": (10, 256, 84), "Q3_K": (11, 256, 110), "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176),
         "Q6_K": (14, 256, 210), "Q8_K": (15, 256, 292), "IQ4_NL": (20, 32, 18), "IQ4_XS": (23, 256, 136),
         "MXFP4": (39, 32, 17), "Q2_0": (42, 64, 18)}
MINI = {"F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2, "F8_E8M0": ml_dtypes.float8_e8m0fnu,
        "F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz, "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz}


def path(*parts):
    p = os.path.join(ROOT, *parts)
    os.makedirs(os.path.dirname(p), exist_ok=True)
    return p


def pack(name, raw, values=b""):
    """u32 byte count, u32 float count, the encoded bytes, the floats."""
    raw, values = bytes(raw), bytes(values)
    with open(path("codecs", name), "wb") as f:
        f.write(struct.pack("<II", len(raw), len(values) // 4) + raw + values)


def c_function(name, restype=None):
    f = getattr(ggml, name)
    f.restype = restype
    return f


def ggml_decode(suffix, raw, n):
    out = np.empty(n, np.float32)
    c_function("dequantize_row_" + suffix)(raw.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(n))
    return out


def ggml_encode(suffix, x, size):
    raw = np.zeros(size, np.uint8)
    c_function("quantize_row_" + suffix + "_ref")(x.ctypes.data_as(ctypes.c_void_p), raw.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(x.size))
    return raw


def codecs():
    x = np.concatenate([rng.normal(0, 1, 512), rng.normal(0, 1e-3, 256), np.zeros(64), np.full(64, 0.75),
                        rng.normal(0.2, 30, 128), -np.abs(rng.normal(0, 2, 256)), np.abs(rng.normal(0, 1e-6, 256)),
                        rng.integers(-1, 2, 256) * 0.5, rng.standard_t(2, 256)]).astype(np.float32)
    assert x.size == 2048
    x.tofile(path("codecs", "input.f32"))
    for name, (type_id, block, size) in BLOCK.items():
        count = 1024 // block
        raw = rng.integers(0, 256, count * size, dtype=np.uint8)
        n = count * block
        if name in ("Q8_K", "Q2_0"):  # not in the gguf package; ggml itself
            if name == "Q8_K":
                for i in range(count):
                    raw[i * size:i * size + 4] = np.frombuffer(np.float32(rng.normal()).tobytes(), np.uint8)
            values = ggml_decode({"Q8_K": "q8_K", "Q2_0": "q2_0"}[name], raw, n)
        else:
            with np.errstate(all="ignore"):
                values = gguf.quants.dequantize(raw.reshape(1, -1), Q(type_id)).ravel()
        pack(name + ".dec", raw, values.astype(np.float32).tobytes())
        total = x.size // block * size
        if name in ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "MXFP4"):
            raw = gguf.quants.quantize(x.reshape(1, -1), Q(type_id)).ravel()
        else:
            suffix = name.lower() if name.startswith("IQ") or name == "Q2_0" else name.replace("Q", "q")
            raw = ggml_encode(suffix, x, total)
        assert raw.size == total, name
        pack(name + ".enc", raw.tobytes())
    for name, kind in (("F16", np.float16), ("BF16", ml_dtypes.bfloat16)):
        raw = rng.integers(0, 65536, 512, dtype=np.uint16)
        reference = gguf.quants.dequantize(raw.view(np.uint8).reshape(1, -1), Q[name])
        pack(name + ".dec", raw.tobytes(), reference.astype(np.float32).tobytes())
        pack(name + ".enc", gguf.quants.quantize(x.reshape(1, -1), Q[name]).tobytes())
    for name, kind in MINI.items():
        raw = np.arange(256, dtype=np.uint8)
        pack(name + ".dec", raw.tobytes(), raw.view(kind).astype(np.float32).tobytes())
        pack(name + ".enc", np.clip(np.abs(x) if name == "F8_E8M0" else x, -200, 200).astype(kind).tobytes())
    raw = np.arange(256, dtype=np.uint8)
    pairs = np.stack([raw & 15, raw >> 4], axis=1).ravel().astype(np.uint8)
    pack("F4.dec", raw.tobytes(), pairs.view(ml_dtypes.float4_e2m1fn).astype(np.float32).tobytes())
    codes = np.clip(x, -6, 6).astype(ml_dtypes.float4_e2m1fn).view(np.uint8) & 15
    pack("F4.enc", (codes[0::2] | (codes[1::2] << 4)).astype(np.uint8).tobytes())


# Added later, with their own random numbers, so that the other fixtures stay as they are.
MORE = {"IQ1_S": (19, 256, 50), "IQ1_M": (29, 256, 56), "IQ2_XXS": (16, 256, 66), "IQ2_XS": (17, 256, 74),
        "IQ2_S": (22, 256, 82), "IQ3_XXS": (18, 256, 98), "IQ3_S": (21, 256, 110), "TQ1_0": (34, 256, 54),
        "TQ2_0": (35, 256, 66), "NVFP4": (40, 64, 36), "Q1_0": (41, 128, 18)}


def more_codecs():
    random = np.random.default_rng(20262)
    x = np.fromfile(path("codecs", "input.f32"), np.float32)
    for name, (type_id, block, size) in MORE.items():
        count = 2048 // block
        raw = random.integers(0, 256, count * size, dtype=np.uint8)
        values = ggml_decode(name.lower(), raw, count * block)
        if name != "Q1_0":  # not in the gguf package
            with np.errstate(all="ignore"):
                reference = gguf.quants.dequantize(raw.reshape(1, -1), Q(type_id)).ravel().astype(np.float32)
            assert ((values.view(np.uint32) == reference.view(np.uint32)) | (np.isnan(values) & np.isnan(reference))).all(), name
        pack(name + ".dec", raw, values.tobytes())
        if not name.startswith("IQ"):
            pack(name + ".enc", ggml_encode(name.lower(), x, x.size // block * size))


def digest(array):
    return hashlib.sha256(array.tobytes()).hexdigest()


def gguf_files():
    expected = {}

    def write(name, arch="llama", keys=None, tensors=(), **kwargs):
        w = gguf.GGUFWriter(path("gguf", name), arch, **kwargs)
        if keys:
            keys(w)
        listed = []
        for tensor_name, data, kind in tensors:
            w.add_tensor(tensor_name, data, raw_dtype=kind)
            type_name = kind.name if kind is not None else {"float32": "F32", "float16": "F16", "int8": "I8", "int16": "I16",
                                                            "int32": "I32", "int64": "I64", "float64": "F64"}[str(data.dtype)]
            shape = list(data.shape)
            if kind is not None:
                shape = list(gguf.quant_shape_from_byte_shape(shape, kind))
            listed.append({"name": tensor_name, "format": type_name, "shape": shape, "sha256": digest(data)})
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.write_tensors_to_file()
        w.close()
        expected[name] = listed

    def all_keys(w):
        w.add_uint8("t.u8", 200)
        w.add_int8("t.i8", -100)
        w.add_uint16("t.u16", 60000)
        w.add_int16("t.i16", -30000)
        w.add_uint32("t.u32", 4000000000)
        w.add_int32("t.i32", -2000000000)
        w.add_float32("t.f32", 1.5)
        w.add_bool("t.bool", True)
        w.add_string("t.string", "h\u00f6ne \u2713")
        w.add_uint64("t.u64", 2**63 + 5)
        w.add_int64("t.i64", -2**62)
        w.add_float64("t.f64", 0.1)
        V = gguf.GGUFValueType
        for kind, values in ((V.UINT8, [1, 255]), (V.INT8, [-1, 127]), (V.UINT16, [1, 65535]), (V.INT16, [-1, 32767]),
                             (V.UINT32, [1, 2**32 - 1]), (V.INT32, [-1, 2**31 - 1]), (V.FLOAT32, [0.5, -2.0]),
                             (V.BOOL, [True, False, True]), (V.STRING, ["a", "", "\u00e9"]), (V.UINT64, [1, 2**64 - 1]),
                             (V.INT64, [-1, 2**63 - 1]), (V.FLOAT64, [0.25, -1e300])):
            w.add_key_value("a." + kind.name.lower(), values, V.ARRAY, sub_type=kind)

    f32 = np.arange(6, dtype=np.float32).reshape(2, 3)
    q = rng.integers(0, 256, (2, 144), dtype=np.uint8)
    q8 = rng.integers(0, 256, (3, 2, 34), dtype=np.uint8)
    plain = [("f32", f32, None), ("scalar_row", np.array([7], np.float32), None), ("f16", f32.astype(np.float16), None),
             ("i8", np.arange(5, dtype=np.int8), None), ("i32", np.arange(4, dtype=np.int32), None),
             ("i64", np.arange(4, dtype=np.int64), None), ("f64", np.arange(4, dtype=np.float64), None)]
    write("all_types.gguf", keys=all_keys, tensors=plain + [("q4_k", q, Q.Q4_K), ("q8_0_3d", q8, Q.Q8_0)])
    write("align64.gguf", keys=lambda w: w.add_custom_alignment(64), tensors=plain[:4])
    write("big_endian.gguf", endianess=gguf.GGUFEndian.BIG, tensors=plain[:1])
    write("empty.gguf")
    raw = open(path("gguf", "align64.gguf"), "rb").read()
    open(path("gguf", "version2.gguf"), "wb").write(raw[:4] + struct.pack("<I", 2) + raw[8:])
    expected["version2.gguf"] = expected["align64.gguf"]
    write("split.gguf", tensors=plain, split_max_tensors=3)
    json.dump(expected, open(path("gguf", "expected.json"), "w"), indent=1, sort_keys=True)


def safetensors_files():
    expected = {}

    def note(name, entries):
        expected[name] = [{"name": n, "format": f, "shape": list(s), "sha256": hashlib.sha256(d).hexdigest()} for n, f, s, d in entries]

    kinds = {"bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "float16": "F16", "uint32": "U32",
             "int32": "I32", "float32": "F32", "uint64": "U64", "int64": "I64", "float64": "F64", "complex64": "C64",
             "bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "float8_e8m0fnu": "F8_E8M0",
             "float8_e4m3fnuz": "F8_E4M3FNUZ", "float8_e5m2fnuz": "F8_E5M2FNUZ"}
    bits = {"F64": 64, "I64": 64, "U64": 64, "C64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "U16": 16}
    data, entries, buffers = {}, [], []

    def spec(dtype, shape, raw):
        buffers.append(np.frombuffer(raw + b"\0", np.uint8).copy())
        return safetensors.TensorSpec(dtype=dtype, shape=shape, data_ptr=buffers[-1].ctypes.data, data_len=len(raw))

    for dtype, label in kinds.items():
        size = bits.get(label, 8) // 8
        raw = rng.integers(0, 2 if label == "BOOL" else 256, 6 * size, dtype=np.uint8).tobytes()
        data["t." + dtype] = spec(dtype, [2, 3], raw)
        entries.append(("t." + dtype, label, [2, 3], raw))
    data["scalar"] = spec("float32", [], np.float32(3.5).tobytes())
    entries.append(("scalar", "F32", [], np.float32(3.5).tobytes()))
    data["none"] = spec("int32", [0, 4], b"")
    entries.append(("none", "I32", [0, 4], b""))
    open(path("safetensors", "all_dtypes.safetensors"), "wb").write(safetensors.serialize(data, {"format": "pt"}))
    note("all_dtypes.safetensors", entries)

    # As mlx writes: no header padding, so the data is unaligned; sub-byte types by hand.
    a, b, c = np.arange(3, dtype=np.float32).tobytes(), bytes([0x21, 0x43, 0x65]), bytes(range(6))
    head = {"f4": {"dtype": "F4", "shape": [2, 3], "data_offsets": [0, 3]},
            "x": {"dtype": "F32", "shape": [3], "data_offsets": [3, 15]},
            "f6": {"dtype": "F6_E2M3", "shape": [8], "data_offsets": [15, 21]}, "__metadata__": {"format": "mlx"}}
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * ((8 - len(text)) % 8 + 6)
    open(path("safetensors", "unaligned.safetensors"), "wb").write(struct.pack("<Q", len(text)) + text + b + a + c)
    note("unaligned.safetensors", [("f4", "F4", [2, 3], b), ("x", "F32", [3], a), ("f6", "F6_E2M3", [8], c)])

    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    for folder in ("single", "sharded"):
        json.dump(config, open(path("safetensors", folder, "config.json"), "w"))
    w1, w2 = np.arange(8, dtype=np.float32).reshape(2, 4), np.arange(4, dtype=np.float16)
    safetensors.numpy.save_file({"w1": w1, "w2": w2}, path("safetensors", "single", "model.safetensors"), {"format": "pt"})
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    safetensors.numpy.save_file({"w1": w1}, path("safetensors", "sharded", names[0]), {"format": "pt"})
    safetensors.numpy.save_file({"w2": w2}, path("safetensors", "sharded", names[1]), {"format": "pt"})
    json.dump({"metadata": {"total_size": 40}, "weight_map": {"w1": names[0], "w2": names[1]}},
              open(path("safetensors", "sharded", "model.safetensors.index.json"), "w"), indent=2)
    for folder in ("single", "sharded"):
        note(folder, [("w1", "F32", [2, 4], w1.tobytes()), ("w2", "F16", [4], w2.tobytes())])
    json.dump(expected, open(path("safetensors", "expected.json"), "w"), indent=1, sort_keys=True)


def numpy_files():
    a = np.arange(6).reshape(2, 3)
    for name, array in (("f32", a.astype(np.float32)), ("i64_fortran", np.asfortranarray(a.astype(np.int64))),
                        ("bool", a % 2 == 0), ("f16_scalar", np.array(2.5, np.float16)), ("u8_empty", np.zeros((0, 3), np.uint8))):
        np.save(path("npy", name + ".npy"), array)
    np.save(path("npy", "big_endian.npy"), a.astype(">f4"))
    with open(path("npy", "version2.npy"), "wb") as f:
        np.lib.format.write_array(f, a.astype(np.float64), version=(2, 0))


if __name__ == "__main__":
    for part in (codecs, more_codecs, gguf_files, safetensors_files, numpy_files):
        if len(sys.argv) == 1 or part.__name__ in sys.argv[1:]:
            part()
