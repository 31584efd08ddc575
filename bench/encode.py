#!/usr/bin/env python3
"""hone quantize beside llama-quantize on the same file: error and time per storage format, whole processes.

  bench/encode.py MODEL.gguf [--threads 2] [--rounds 3] [--formats Q4_0,Q4_K] [--megabytes 96] [--hone PATH] [--out FILE.md]

MODEL is a GGUF in BF16, F16 or F32. The bench first makes a file of its metadata and values whose rows every block divides
(--megabytes; 0 takes MODEL as it is), and heavy-tailed importances. The formats are what `hone quantize` says it can write.
Every round runs both tools, --pure, and the time ratio is taken round by round; the error ratio is that of the sums
of importance * (x - decoded)^2 over the tensors that both stored in the format. Needs numpy and gguf.
"""
import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

import gguf
import numpy as np

import llama_tools

WIDTH, INNER, KEYS = 512, 1536, 256  # columns: whole blocks of every format
SIZES = {"embedding_length": WIDTH, "feed_forward_length": INNER, "attention.head_count": 8, "attention.head_count_kv": 4,
         "rope.dimension_count": 64}


def read_matrix(t) -> np.ndarray:
    return gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32).reshape(-1, int(t.shape[0]))


def make_model(source: str, path: str, megabytes: int) -> None:
    """A llama model of BF16 matrices, rows of WIDTH and INNER, filled with the values of another model in order."""
    reader = gguf.GGUFReader(source)
    arch = reader.fields["general.architecture"].contents()
    values = np.concatenate([read_matrix(t).reshape(-1)[: 1 << 21] for t in reader.tensors if len(t.shape) == 2])
    position = 0

    def take(rows, cols):
        nonlocal position
        at = np.arange(position, position + rows * cols) % values.size
        position += rows * cols
        bits = values[at].view(np.uint32)
        return ((bits + 0x8000) >> 16).astype(np.uint16).reshape(rows, cols)

    width, inner, kv = WIDTH, INNER, KEYS
    layer = [("attn_q", width, width), ("attn_k", kv, width), ("attn_v", kv, width), ("attn_output", width, width),
             ("ffn_gate", inner, width), ("ffn_up", inner, width), ("ffn_down", width, inner)]
    vocabulary = len(reader.fields["tokenizer.ggml.tokens"].data)
    per_layer = 2 * sum(r * c for _, r, c in layer)
    layers = max(1, round((megabytes * 1e6 - 2 * vocabulary * width) / per_layer))
    writer = gguf.GGUFWriter(path, arch)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        key = name.removeprefix(arch + ".")
        value = layers if key == "block_count" else SIZES.get(key, field.contents())
        sub = field.types[1] if field.types[0] == gguf.GGUFValueType.ARRAY and len(field.types) > 1 else None
        writer.add_key_value(name, value, field.types[0], sub)
    bf16 = gguf.GGMLQuantizationType.BF16
    writer.add_tensor("token_embd.weight", take(vocabulary, width), raw_dtype=bf16)
    for i in range(layers):
        writer.add_tensor(f"blk.{i}.attn_norm.weight", np.ones(width, np.float32))
        writer.add_tensor(f"blk.{i}.ffn_norm.weight", np.ones(width, np.float32))
        for name, rows, cols in layer:
            writer.add_tensor(f"blk.{i}.{name}.weight", take(rows, cols), raw_dtype=bf16)
    writer.add_tensor("output_norm.weight", np.ones(width, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make_importances(model: str, path: str) -> dict:
    """An importance matrix as llama-imatrix writes it: log-normal, one set per matrix. Returns them by tensor name."""
    random = np.random.default_rng(7)
    weights = {t.name: np.exp(1.5 * random.normal(size=int(t.shape[0]))).astype(np.float32)
               for t in gguf.GGUFReader(model).tensors if len(t.shape) == 2}
    writer = gguf.GGUFWriter(path, "")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["made"])
    writer.add_uint32("imatrix.chunk_count", 1)
    writer.add_uint32("imatrix.chunk_size", 512)
    for name, w in weights.items():
        writer.add_tensor(name + ".in_sum2", w * 512)
        writer.add_tensor(name + ".counts", np.full(1, 512, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


# A process starts with its parent's peak memory to its name, so a small one stands between.
RUNNER = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
wall, usage = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"code": done.returncode, "error": done.stderr[-300:], "wall": wall,
                  "cpu": usage.ru_utime + usage.ru_stime, "mb": usage.ru_maxrss / 1024}))
"""


def run_timed(command: list) -> dict | None:
    """Wall and processor seconds and peak megabytes of a process; None when it fails."""
    done = subprocess.run([sys.executable, "-c", RUNNER, *map(str, command)], check=True, capture_output=True, text=True)
    result = json.loads(done.stdout)
    if result["code"] != 0:
        print(f"{' '.join(map(str, command))}: {result['error'].strip()}", file=sys.stderr)
        return None
    return result


class Hone:
    def __init__(self, path, threads):
        self.path, self.threads = path, threads

    def formats(self) -> list:
        """Every format or mix that the tool says it writes, each base format once."""
        help_text = subprocess.run([self.path, "quantize", "--help"], check=True, capture_output=True, text=True).stdout
        words = re.search(r"choice of types:\s*([\w\s]+)", help_text).group(1).split()
        mixes = {"IQ2_M", "IQ3_XS", "IQ3_M"}  # --pure makes them what IQ2_S and IQ3_S are
        words = [re.sub(r"^(Q\d_K)_[SML]$", r"\1", w) for w in words if re.match(r"(I?Q|TQ|MX|NV)\w*\d", w)]
        return [w for w in dict.fromkeys(words) if w not in mixes]

    def command(self, model, out, name, imatrix):
        return [self.path, "quantize", "--pure", *(["--imatrix", imatrix] if imatrix else []), model, name, out, "--threads",
                self.threads]


class LlamaCpp:
    title = "llama.cpp"

    def __init__(self, threads):
        self.threads = threads

    def command(self, model, out, name, imatrix):
        return [llama_tools.tools_dir() / "llama-quantize", "--pure", *(["--imatrix", imatrix] if imatrix else []), model, out,
                name, self.threads]


# The peers that every format is compared with. Another one (MLX's modes, say) is a class like LlamaCpp: its command makes
# a file from which stored() can read what it kept, or it brings its own reader.
def peers(threads):
    return [LlamaCpp(threads)]


def stored(path) -> dict:
    return {t.name: t for t in gguf.GGUFReader(path).tensors}


def error_ratio(model, ours, theirs, weights) -> str:
    """Over the matrices that both sides quantized to the same type, first 512 rows of each."""
    try:
        a, b = stored(ours), stored(theirs)
    except ValueError:  # Q2_0 and Q1_0: newer than the package; tests/peers/encode_test.py compares them
        return "unread"
    sums = [0.0, 0.0]
    for t in gguf.GGUFReader(model).tensors:
        if t.name not in a or t.name not in b or len(t.shape) != 2 or a[t.name].tensor_type != b[t.name].tensor_type:
            continue
        if a[t.name].tensor_type == t.tensor_type:
            continue
        x, w = read_matrix(t)[:512], 1.0 if weights is None else weights[t.name]
        for k, side in enumerate((a, b)):
            part = side[t.name].data[:512]
            y = gguf.quants.dequantize(part, side[t.name].tensor_type).astype(np.float32).reshape(x.shape)
            sums[k] += float((w * np.square(x - y, dtype=np.float64)).sum())
    return f"{sums[0] / sums[1]:.3f}" if sums[1] else "none alike"


def compare(hone, peer, name, model, imatrix, weights, rounds, folder):
    ours, theirs = str(folder / "hone.gguf"), str(folder / "peer.gguf")
    runs = []
    for _ in range(rounds):
        pair = run_timed(hone.command(model, ours, name, imatrix)), run_timed(peer.command(model, theirs, name, imatrix))
        if None in pair:
            return None
        runs.append(pair)
    wall, cpu = ([o[key] / t[key] for o, t in runs] for key in ("wall", "cpu"))
    own = statistics.median(o["wall"] for o, _ in runs)
    return (f"{error_ratio(model, ours, theirs, weights)} | {statistics.median(wall):.2f} ({min(wall):.2f} to "
            f"{max(wall):.2f}) | {statistics.median(cpu):.2f} | {own:.2f} s, {max(o['mb'] for o, _ in runs):.0f} MB |")


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--formats", help="default: all that hone quantize names")
    p.add_argument("--megabytes", type=int, default=96)
    p.add_argument("--hone", default="hone")
    p.add_argument("--out", type=pathlib.Path)
    a = p.parse_args()
    hone = Hone(a.hone, a.threads)
    lines = ["| format | importances | peer | error | time, whole process (min to max) | processor time | hone |",
             "|---|---|---|---|---|---|---|"]
    print("\n".join(lines))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        model = a.model
        if a.megabytes:
            model = str(folder / "model.gguf")
            make_model(a.model, model, a.megabytes)
        imatrix = str(folder / "imatrix.gguf")
        weights = make_importances(model, imatrix)
        for quant in a.formats.split(",") if a.formats else hone.formats():
            for weighting, matrix in (("none", None), ("heavy", imatrix)):
                for peer in peers(a.threads):
                    row = compare(hone, peer, quant, model, matrix, weights if matrix else None, a.rounds, folder)
                    lines.append(f"| {quant} | {weighting} | {peer.title} | {row or 'one of the two refuses | | | |'}")
                    print(lines[-1], flush=True)
    if a.out:
        a.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
