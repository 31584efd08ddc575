#!/usr/bin/env python3
"""Adapters, control vectors and importance matrices on the command line, with a tiny model made here."""
import array
import json
import random
import struct

import support
from support import CliTest, main, npy, read_gguf, read_npz, read_safetensors, write_safetensors, write_tiny_model

LAYER = "base_model.model.model.layers.1."
HIDDEN = 256


def numbers(rng, *shape, scale=0.05):
    n = 1
    for s in shape:
        n *= s
    return list(shape), array.array("f", [rng.uniform(-scale, scale) for _ in range(n)])


def write_adapter(folder, **more):
    """Rank 2 on q_proj and down_proj of the second layer."""
    folder.mkdir()
    rng = random.Random(7)
    tensors = {}
    for module in ("self_attn.q_proj", "mlp.down_proj"):
        tensors[f"{LAYER}{module}.lora_A.weight"] = numbers(rng, 2, HIDDEN)
        tensors[f"{LAYER}{module}.lora_B.weight"] = numbers(rng, HIDDEN, 2)
    write_safetensors(folder / "adapter_model.safetensors", tensors)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 16, **more}))
    return folder


def write_control_vector(path, directions):
    string = lambda s: struct.pack("<Q", len(s)) + s.encode()
    out = b"GGUF" + struct.pack("<Iqq", 3, len(directions), 1) + string("general.architecture") + struct.pack("<I", 8) + string("controlvector")
    data = b""
    for layer, values in directions.items():
        out += string(f"direction.{layer}") + struct.pack("<IqIQ", 1, len(values), 0, len(data))
        data += struct.pack(f"<{len(values)}f", *values)
        data += b"\0" * (-len(data) % 32)
    path.write_bytes(out + b"\0" * (-len(out) % 32) + data)
    return path


class Adapters(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.hf, cls.gguf = write_tiny_model(cls.folder / "tiny"), cls.folder / "tiny.gguf"
        assert support.hone("convert", cls.hf, cls.gguf).returncode == 0
        cls.peft = write_adapter(cls.folder / "peft")
        npy(cls.folder / "ids.npy", [[10, 20, 30, 40, 50, 60]])

    def logits(self, model, *flags):
        self.ok("run", model, "--input", f"input_ids={self.folder}/ids.npy", "--output", self.folder / "out.npz", *flags)
        return read_npz(self.folder / "out.npz")["logits"][1]

    def apart(self, a, b):
        self.assertEqual(len(a), len(b))
        return max(abs(x - y) for x, y in zip(a, b))

    def test_run_time_and_merge_agree_on_both_containers(self):
        plain = self.logits(self.hf)
        adapted = self.logits(self.hf, "--lora", self.peft)
        self.assertGreater(self.apart(plain, adapted), 0.01)
        self.assertLess(self.apart(adapted, self.logits(self.gguf, "--lora", self.peft)), 1e-4)
        self.assertLess(self.apart(plain, self.logits(self.gguf, "--lora", f"{self.peft}:0")), 1e-4)
        halves = self.logits(self.gguf, "--lora", f"{self.peft}:0.5", "--lora", f"{self.peft}:0.5")
        self.assertLess(self.apart(adapted, halves), 1e-4)
        answer = self.json_of("convert", self.gguf, self.folder / "merged.gguf", "--lora", self.peft)
        self.assertEqual(answer["tensors_merged"], 2)
        self.assertLess(self.apart(adapted, self.logits(self.folder / "merged.gguf")), 1e-4)

    def test_translates_there_and_back(self):
        answer = self.json_of("adapter", self.peft, self.folder / "a.gguf", "--model", self.hf)
        self.assertEqual((answer["kind"], answer["tensors"]), ("gguf", 2))
        metadata, tensors = read_gguf(self.folder / "a.gguf")
        self.assertEqual({k: metadata[k] for k in ("general.type", "adapter.type", "general.architecture", "adapter.lora.alpha")},
                         {"general.type": "adapter", "adapter.type": "lora", "general.architecture": "llama", "adapter.lora.alpha": 16.0})
        self.assertEqual(tensors["blk.1.attn_q.weight.lora_b"][0], [HIDDEN, 2])
        self.ok("adapter", self.folder / "a.gguf", self.folder / "back", "--model", self.gguf)
        self.assertEqual(read_safetensors(self.folder / "back/adapter_model.safetensors"), read_safetensors(self.peft / "adapter_model.safetensors"))
        self.ok("adapter", self.peft, self.folder / "half.gguf", "--model", self.hf, "--format", "F16")
        self.assertEqual(read_gguf(self.folder / "half.gguf")[1]["blk.1.attn_q.weight.lora_a"][1], 1)

    def test_shows_what_it_changes(self):
        answer = self.json_of("adapter", self.peft, "--model", self.gguf)
        self.assertEqual([(t["name"], t["rank"], t["scale"]) for t in answer["tensors"]],
                         [("blk.1.attn_q.weight", 2, 8.0), ("blk.1.ffn_down.weight", 2, 8.0)])
        self.assertIn("blk.1.ffn_down.weight", self.ok("adapter", self.peft, "--model", self.gguf).out)

    def test_what_does_not_fit_is_named(self):
        other = self.folder / "other"
        other.mkdir()
        rng = random.Random(1)
        write_safetensors(other / "adapter_model.safetensors", {"base_model.model.model.layers.7.mlp.up_proj.lora_A.weight": numbers(rng, 2, HIDDEN),
                                                                "base_model.model.model.layers.7.mlp.up_proj.lora_B.weight": numbers(rng, HIDDEN, 2),
                                                                LAYER + "mlp.up_proj.lora_A.weight": numbers(rng, 2, 8),
                                                                LAYER + "mlp.up_proj.lora_B.weight": numbers(rng, HIDDEN, 2)})
        (other / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 2}))
        run = self.fails(3, "run", self.gguf, "x", "--lora", other, says="layers.7.mlp.up_proj")
        self.assertIn("its A [2, 8]", run.err)
        self.fails(3, "run", self.gguf, "x", "--lora", self.folder / "nothing", says="no such file")
        self.fails(2, "run", self.gguf, "x", "--lora", f"{self.peft}:much", says="FILE:SCALE")
        self.fails(3, "run", self.gguf, "x", "--lora", self.gguf, says="must be 'adapter'")

    def test_generates_and_evaluates_with_an_adapter(self):
        ask = ("--raw", "-n", "4", "--temperature", "0", "--ignore-end")
        merged = self.folder / "spoken.gguf"
        self.ok("convert", self.hf, merged, "--lora", f"{self.peft}:3")
        self.assertEqual(self.json_of("run", self.gguf, "hello hello", *ask, "--lora", f"{self.peft}:3")["ids"],
                         self.json_of("run", merged, "hello hello", *ask)["ids"])
        text = self.folder / "text.txt"
        text.write_text("hello all the world " * 60)
        measure = ("--text", text, "--window", "64", "--windows", "4")
        adapted = self.json_of("evaluate", self.gguf, *measure, "--lora", f"{self.peft}:3")["perplexity"]["value"]
        merged, plain = (self.json_of("evaluate", m, *measure)["perplexity"]["value"] for m in (merged, self.gguf))
        self.assertAlmostEqual(adapted / merged, 1, places=4)
        self.assertGreater(abs(adapted / plain - 1), 0.001)

    def test_control_vectors(self):
        rng = random.Random(3)
        path = write_control_vector(self.folder / "vector.gguf", {1: [rng.uniform(-1, 1) for _ in range(HIDDEN)]})
        plain, steered = self.logits(self.gguf), self.logits(self.gguf, "--control-vector", path)
        self.assertGreater(self.apart(plain, steered), 0.05)
        twice = self.logits(self.gguf, "--control-vector", path, "--control-vector", f"{path}:-1")
        self.assertLess(self.apart(plain, twice), 1e-4)
        self.assertLess(self.apart(steered, self.logits(self.hf, "--control-vector", path, "--control-vector-layers", "1:1")), 1e-4)
        self.fails(2, "run", self.gguf, "x", "--control-vector", path, "--control-vector-layers", "1:2", says="last block is 1")
        self.fails(2, "run", self.gguf, "x", "--control-vector-layers", "1:1", says="--control-vector")
        wide = write_control_vector(self.folder / "wide.gguf", {1: [0.0] * 8})
        self.fails(3, "run", self.gguf, "x", "--control-vector", wide, says="8 elements")


class Imatrix(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.hf, cls.gguf = write_tiny_model(cls.folder / "tiny"), cls.folder / "tiny.gguf"
        assert support.hone("convert", cls.hf, cls.gguf).returncode == 0
        cls.text = cls.folder / "text.txt"
        cls.text.write_text("hello all the quick brown foxes of this world, 1234567890 " * 40)

    def observe(self, name, *flags):
        out = self.folder / name
        return out, self.json_of("imatrix", self.gguf, "-f", self.text, "-o", out, "-c", "64", *flags)

    def test_writes_what_llama_quantize_reads(self):
        out, answer = self.observe("m.gguf", "--chunks", "3")
        self.assertEqual((answer["weights"], answer["chunks"], answer["chunk_size"]), (14, 3, 64))
        metadata, tensors = read_gguf(out)
        self.assertEqual((metadata["general.type"], metadata["imatrix.chunk_count"], metadata["imatrix.chunk_size"]), ("imatrix", 3, 64))
        self.assertEqual(metadata["imatrix.datasets"], ["text.txt"])
        self.assertEqual(tensors["blk.0.attn_q.weight.in_sum2"][0], [1, HIDDEN])
        self.assertNotIn("token_embd.weight.in_sum2", tensors)
        self.assertIn("token_embd.weight.in_sum2", read_gguf(self.observe("head.gguf", "--chunks", "1", "--head")[0])[1])
        self.ok("quantize", self.gguf, "Q4_K_S", self.folder / "q.gguf", "--imatrix", out)
        same = self.folder / "hf.gguf"
        self.ok("imatrix", self.hf, "-f", self.text, "-o", same, "-c", "64", "--chunks", "3")
        self.assertEqual(read_gguf(same), read_gguf(out))  # names of GGUF, same shapes

    def test_merges_files(self):
        first, _ = self.observe("first.gguf", "--chunks", "1")
        answer = self.json_of("imatrix", "--in", first, "--in", first, "-o", self.folder / "both.gguf")
        self.assertEqual(answer["chunks"], 2)
        self.ok("quantize", self.gguf, "Q4_K_S", self.folder / "once.gguf", "--imatrix", first)
        self.ok("quantize", self.gguf, "Q4_K_S", self.folder / "twice.gguf", "--imatrix", self.folder / "both.gguf")
        self.assertEqual(read_gguf(self.folder / "once.gguf")[1], read_gguf(self.folder / "twice.gguf")[1])
        self.fails(2, "imatrix", "-o", self.folder / "x.gguf", says="--in")

    def test_the_model_writes_its_own_text(self):
        answer = self.json_of("imatrix", self.gguf, "-o", self.folder / "own.gguf", "-c", "32", "--chunks", "2")
        self.assertEqual((answer["chunks"], answer["datasets"]), (2, ["written by the model itself"]))

    def test_older_files(self):
        squares = [1.0 + i for i in range(HIDDEN)]
        name = b"blk.0.attn_q.weight"
        old = self.folder / "old.dat"
        old.write_bytes(struct.pack("<i", 1) + struct.pack("<i", len(name)) + name + struct.pack("<ii", 1, HIDDEN) + struct.pack(f"<{HIDDEN}f", *squares))
        self.ok("quantize", self.gguf, "Q4_K_S", self.folder / "old.gguf", "--imatrix", old)
        self.ok("imatrix", "--in", old, "-o", self.folder / "new.gguf")
        self.ok("quantize", self.gguf, "Q4_K_S", self.folder / "new-q.gguf", "--imatrix", self.folder / "new.gguf")
        data = [(self.folder / f).read_bytes()[-100000:] for f in ("old.gguf", "new-q.gguf")]
        self.assertEqual(*data)
        old.write_bytes(old.read_bytes()[:-3])
        self.fails(3, "quantize", self.gguf, "Q4_K_S", self.folder / "never.gguf", "--imatrix", old, says="imatrix")


if __name__ == "__main__":
    main()
