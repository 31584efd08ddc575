"""What the command-line tests share: running the program, a tiny model made here, reading the files it writes.

Standard library only, so that the tests run in a bare clone; comparisons with other packages say in one line
when they are skipped. Each test file is run as: python3 FILE path/to/hone
"""
import array
import json
import os
import pathlib
import random
import resource
import struct
import subprocess
import sys
import tempfile
import unittest

HONE = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else "hone"
ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
VERBS = "optimize quantize convert imatrix adapter inspect run evaluate bench pull tokenize template completion".split()


def hone(*args, stdin="", env=None, timeout=300, **more):
    """Runs the program; stdin is text or bytes."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": "/nonexistent", **(env or {})}
    if isinstance(stdin, str):
        stdin = stdin.encode()
    run = subprocess.run([HONE, *map(str, args)], input=stdin, capture_output=True, env=environment, timeout=timeout, **more)
    run.out, run.err = run.stdout.decode("utf-8", "replace"), run.stderr.decode("utf-8", "replace")
    return run


class CliTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls._folder = tempfile.TemporaryDirectory(prefix="hone-cli-")
        cls.folder = pathlib.Path(cls._folder.name)

    @classmethod
    def tearDownClass(cls):
        cls._folder.cleanup()

    def ok(self, *args, **more):
        run = hone(*args, **more)
        self.assertEqual(run.returncode, 0, f"{args}: {run.err}")
        return run

    def json_of(self, *args, **more):
        return json.loads(self.ok(*args, "--json", **more).out)

    def fails(self, code, *args, says="", **more):
        """One line on stderr that says what, nothing on stdout, the right code."""
        run = hone(*args, **more)
        self.assertEqual(run.returncode, code, f"{args}: {run.out}\n{run.err}")
        lines = [line for line in run.err.splitlines() if line.startswith("hone: error: ")]
        self.assertEqual(len(lines), 1, run.err)
        self.assertEqual(run.err.splitlines()[-1], lines[0])
        self.assertIn(says, lines[0])
        return run


BYTES = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or 174 <= b <= 255]


def byte_characters():
    """GPT-2's printable character for each byte: published scheme of byte-level BPE."""
    table, extra = {}, 0
    for b in range(256):
        if b in BYTES:
            table[b] = chr(b)
        else:
            table[b] = chr(256 + extra)
            extra += 1
    return table


SPECIAL = ["<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
TEMPLATE = ("{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}")


def write_tokenizer(folder, merges=("h e", "l l", "he ll", "hell o")):
    """Special tokens 0..3, then one token per byte, then merges."""
    table = byte_characters()
    vocab = {token: i for i, token in enumerate(SPECIAL)}
    for b in range(256):
        vocab[table[b]] = len(vocab)
    for merge in merges:
        vocab[merge.replace(" ", "")] = len(vocab)
    added = [dict(id=i, content=t, special=True, single_word=False, lstrip=False, rstrip=False, normalized=False) for i, t in enumerate(SPECIAL)]
    byte_level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True)
    tokenizer = dict(version="1.0", truncation=None, padding=None, added_tokens=added, normalizer=None, pre_tokenizer=byte_level, post_processor=None,
                     decoder=byte_level, model=dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None,
                                                    fuse_unk=False, byte_fallback=False, ignore_merges=False, vocab=vocab, merges=[m.split() for m in merges]))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text(json.dumps(dict(eos_token="<|end|>", chat_template=TEMPLATE, tokenizer_class="GPT2TokenizerFast")))
    return len(vocab)


def write_safetensors(path, tensors):
    """tensors: name -> (shape, array of floats), as F32."""
    header, offset = {}, 0
    for name, (shape, values) in tensors.items():
        header[name] = dict(dtype="F32", shape=shape, data_offsets=[offset, offset + 4 * len(values)])
        offset += 4 * len(values)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, values in tensors.values():
            f.write(values.tobytes())


def read_safetensors(path):
    """name -> (dtype, shape, bytes)."""
    data = pathlib.Path(path).read_bytes()
    size = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    return {n: (t["dtype"], t["shape"], data[8 + size + t["data_offsets"][0]:8 + size + t["data_offsets"][1]]) for n, t in header.items()}


def write_tiny_model(folder, hidden=256, layers=2, heads=4, kv=2, ffn=256, context=1024, seed=1):
    """A random Llama as a Hugging Face directory: about 0.9 M parameters that know nothing, in F32."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    vocab = write_tokenizer(folder)
    config = dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
                  num_key_value_heads=kv, intermediate_size=ffn, max_position_embeddings=context, rms_norm_eps=1e-5, rope_theta=10000.0,
                  vocab_size=vocab, tie_word_embeddings=True, hidden_act="silu", attention_bias=False, mlp_bias=False, torch_dtype="float32",
                  bos_token_id=None, eos_token_id=0)
    (folder / "config.json").write_text(json.dumps(config))
    rng = random.Random(seed)

    def weights(*shape, scale=0.08):
        n = 1
        for s in shape:
            n *= s
        return list(shape), array.array("f", [rng.uniform(-1, 1) * scale * 1.7 for _ in range(n)])

    def norm():
        return [hidden], array.array("f", [1 + rng.uniform(-0.1, 0.1) for _ in range(hidden)])

    head = hidden // heads
    tensors = {"model.embed_tokens.weight": weights(vocab, hidden, scale=0.1), "model.norm.weight": norm()}
    for i in range(layers):
        p = f"model.layers.{i}."
        tensors[p + "self_attn.q_proj.weight"] = weights(hidden, hidden)
        tensors[p + "self_attn.k_proj.weight"] = weights(kv * head, hidden)
        tensors[p + "self_attn.v_proj.weight"] = weights(kv * head, hidden)
        tensors[p + "self_attn.o_proj.weight"] = weights(hidden, hidden)
        tensors[p + "mlp.gate_proj.weight"] = weights(ffn, hidden)
        tensors[p + "mlp.up_proj.weight"] = weights(ffn, hidden)
        tensors[p + "mlp.down_proj.weight"] = weights(hidden, ffn)
        tensors[p + "input_layernorm.weight"] = norm()
        tensors[p + "post_attention_layernorm.weight"] = norm()
    write_safetensors(folder / "model.safetensors", tensors)
    return folder


def read_gguf(path):
    """(metadata of plain types, tensor name -> (shape outermost first, ggml type, offset)). Just enough for the tests."""
    data, at = pathlib.Path(path).read_bytes(), 0

    def take(form):
        nonlocal at
        value = struct.unpack_from("<" + form, data, at)[0]
        at += struct.calcsize("<" + form)
        return value

    def string():
        nonlocal at
        n = take("Q")
        at += n
        return data[at - n:at].decode()

    forms = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

    def value(kind):
        if kind == 8:
            return string()
        if kind == 9:
            inner, n = take("I"), take("Q")
            return [value(inner) for _ in range(n)]
        return take(forms[kind])

    assert data[:4] == b"GGUF"
    at = 4
    assert take("I") == 3
    count, keys = take("q"), take("q")
    metadata = {}
    for _ in range(keys):
        key = string()
        metadata[key] = value(take("I"))
    tensors = {}
    for _ in range(count):
        name = string()
        shape = [take("q") for _ in range(take("I"))][::-1]
        tensors[name] = (shape, take("I"), take("Q"))
    return metadata, tensors


def peak_rss_of(run_it):
    """Kilobytes of the largest child so far; for small programs run in a fresh interpreter."""
    run_it()
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def npy(path, values, dtype="<i8"):
    """Writes nested lists of integers as .npy version 1."""
    shape, flat = [], values
    while isinstance(flat, list) and flat and isinstance(flat[0], list):
        shape.append(len(flat))
        flat = [x for row in flat for x in row]
    shape = tuple(shape + [len(flat)]) if not shape else tuple(shape + [len(flat) // max(1, eval_product(shape))])
    header = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    code = {"<i8": "q", "<i4": "i"}[dtype]
    pathlib.Path(path).write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + struct.pack(f"<{len(flat)}{code}", *flat))


def eval_product(numbers):
    n = 1
    for x in numbers:
        n *= x
    return n


def read_npz(path):
    """name -> (shape, list of floats) of little-endian F32 arrays."""
    import ast
    import zipfile
    result = {}
    with zipfile.ZipFile(path) as z:
        for name in z.namelist():
            data = z.read(name)
            size = struct.unpack_from("<H", data, 8)[0]
            header = ast.literal_eval(data[10:10 + size].decode())
            assert header["descr"] == "<f4" and not header["fortran_order"], header
            values = array.array("f", data[10 + size:])
            result[name.removesuffix(".npy")] = (list(header["shape"]), values)
    return result


def main():
    unittest.main(verbosity=2)
