#!/usr/bin/env python3
"""Files that hone writes are read by the gguf, safetensors and numpy packages and by llama.cpp.

usage: formats_test.py FORMATS_TEST_PROGRAM. Exit code 77 (skipped) when the packages are not there.
"""
import ctypes
import glob
import hashlib
import json
import os
import subprocess
import sys
import tempfile

try:
    import gguf
    import numpy as np
    import safetensors
    import xllamacpp
except ImportError as missing:
    print(f"skipped: {missing}; run scripts/setup --peers and configure with -DHONE_PEERS")
    sys.exit(77)

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "formats")
GGML_NAMES = {t.value: t.name for t in gguf.GGMLQuantizationType}


def digest(raw):
    return hashlib.sha256(bytes(raw)).hexdigest()


def listed(folder, name):
    with open(os.path.join(DATA, folder, "expected.json")) as f:
        return {e["name"]: e for e in json.load(f)[name]}


def check_gguf(paths, expected):
    seen = {}
    for path in paths:
        for t in gguf.GGUFReader(path).tensors:
            seen[t.name] = (t.tensor_type.name, [int(s) for s in reversed(t.shape)], digest(t.data.tobytes()))
    assert seen == {n: (e["format"], e["shape"], e["sha256"]) for n, e in expected.items()}, (paths, seen)


def check_ggml(path, expected):
    """ggml's own strict reader takes the file and sees the same tensors."""
    ggml = ctypes.CDLL(glob.glob(os.path.join(os.path.dirname(xllamacpp.__file__), "*.so"))[0])

    class Parameters(ctypes.Structure):
        _fields_ = [("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p)]

    ggml.gguf_init_from_file.restype = ctypes.c_void_p
    ggml.gguf_init_from_file.argtypes = [ctypes.c_char_p, Parameters]
    for name, result in (("gguf_get_n_tensors", ctypes.c_int64), ("gguf_get_n_kv", ctypes.c_int64), ("gguf_free", None)):
        getattr(ggml, name).restype, getattr(ggml, name).argtypes = result, [ctypes.c_void_p]
    ggml.gguf_get_tensor_name.restype, ggml.gguf_get_tensor_name.argtypes = ctypes.c_char_p, [ctypes.c_void_p, ctypes.c_int64]
    ggml.gguf_get_tensor_type.restype, ggml.gguf_get_tensor_type.argtypes = ctypes.c_int, [ctypes.c_void_p, ctypes.c_int64]
    context = ggml.gguf_init_from_file(path.encode(), Parameters(True, None))
    assert context, f"ggml refuses {path}"
    seen = {ggml.gguf_get_tensor_name(context, i).decode(): GGML_NAMES[ggml.gguf_get_tensor_type(context, i)]
            for i in range(ggml.gguf_get_n_tensors(context))}
    assert seen == {n: e["format"] for n, e in expected.items()}, (path, seen)
    ggml.gguf_free(context)


def check_safetensors(paths, expected):
    seen = {}
    for path in paths:
        with open(path, "rb") as f:
            raw = f.read()
        for name, t in safetensors.deserialize(raw):
            seen[name] = (t["dtype"], t["shape"], digest(t["data"]))
        assert int.from_bytes(raw[:8], "little") % 8 == 0
    assert seen == {n: (e["format"], e["shape"], e["sha256"]) for n, e in expected.items()}, seen


def main():
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([sys.argv[1], "--gtest_filter=Peers.*"], env={**os.environ, "HONE_PEER_FILES": out}, check=True,
                       stdout=subprocess.DEVNULL)
        expected = listed("gguf", "all_types.gguf")
        parts = sorted(glob.glob(os.path.join(out, "split-*.gguf")))
        assert len(parts) > 1
        for paths in ([os.path.join(out, "plain.gguf")], [os.path.join(out, "aligned.gguf")], parts):
            check_gguf(paths, expected)
        for name in ("plain.gguf", "aligned.gguf"):
            check_ggml(os.path.join(out, name), expected)
        check_ggml(os.path.join(out, "scalar.gguf"), {"s": {"format": "F32"}})
        for i, part in enumerate(parts):
            fields = gguf.GGUFReader(part).fields
            assert (fields["split.no"].contents(), fields["split.count"].contents()) == (i, len(parts))
            assert fields["split.tensors.count"].contents() == len(expected)

        expected = listed("safetensors", "all_dtypes.safetensors")
        check_safetensors([os.path.join(out, "all.safetensors")], expected)
        with safetensors.safe_open(os.path.join(out, "all.safetensors"), "np") as f:
            assert f.metadata() == {"format": "pt", "note": '"quoted" \u2713\n'}
        shards = sorted(glob.glob(os.path.join(out, "hf", "*.safetensors")))
        with open(os.path.join(out, "hf", "model.safetensors.index.json")) as f:
            index = json.load(f)
        assert len(shards) > 1 and set(index["weight_map"].values()) == {os.path.basename(s) for s in shards}
        check_safetensors(shards, expected)

        six = np.arange(6, dtype=np.float32).reshape(2, 3)
        assert np.array_equal(np.load(os.path.join(out, "f32.npy")), six)
        with np.load(os.path.join(out, "arrays.npz")) as arrays:
            assert np.array_equal(arrays["f32"], six) and arrays["scalar"] == np.float16(2.5)
            source = next(t for t in gguf.GGUFReader(os.path.join(out, "plain.gguf")).tensors if t.name == "q8_0_3d")
            assert np.array_equal(arrays["q8"], gguf.quants.dequantize(source.data, source.tensor_type), equal_nan=True)
    print("the reference packages read every file")


main()
