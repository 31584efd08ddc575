#!/usr/bin/env python3
"""convert, quantize, inspect: bytes there and back, types of every tensor, sizes."""
import json
import os
import struct
import subprocess
import sys

import support
from support import CliTest, SHARED, main, read_gguf, read_safetensors, write_tiny_model

GGML = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 20: "IQ4_NL",
        23: "IQ4_XS", 30: "BF16"}


def skip(reason):
    print("skipped: " + reason)


class TinyModel(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.hf = write_tiny_model(cls.folder / "tiny")
        cls.gguf = cls.folder / "tiny.gguf"
        run = support.hone("convert", cls.hf, cls.gguf)
        assert run.returncode == 0, run.err

    def types(self, path):
        return {name: GGML[kind] for name, (_, kind, _) in read_gguf(path)[1].items()}


class Convert(TinyModel):
    def test_there_and_back_is_lossless(self):
        back = self.folder / "back"
        answer = self.json_of("convert", self.gguf, back)
        self.assertTrue(answer["lossless"])
        self.assertEqual(read_safetensors(back / "model.safetensors"), read_safetensors(self.hf / "model.safetensors"))
        config, original = (json.loads((f / "config.json").read_text()) for f in (back, self.hf))
        for key in ("hidden_size", "num_hidden_layers", "num_key_value_heads", "intermediate_size", "vocab_size", "tie_word_embeddings"):
            self.assertEqual(config[key], original[key], key)
        again = self.folder / "again.gguf"
        self.ok("convert", back, again)
        self.assertEqual(read_gguf(again)[1], read_gguf(self.gguf)[1])
        ids = [self.ok("tokenize", m, "hello <|end|> Zé").out for m in (self.hf, self.gguf, back, again)]
        self.assertEqual(len(set(ids)), 1, ids)

    def test_metadata_is_what_the_model_says(self):
        metadata, tensors = read_gguf(self.gguf)
        self.assertEqual(metadata["general.architecture"], "llama")
        self.assertEqual(metadata["llama.block_count"], 2)
        self.assertEqual(metadata["llama.attention.head_count_kv"], 2)
        self.assertEqual(tensors["blk.1.ffn_down.weight"][0], [256, 256])
        self.assertNotIn("output.weight", tensors)  # tied

    def test_shards(self):
        answer = self.json_of("convert", self.hf, self.folder / "split.gguf", "--max-shard-size", "1MB")
        self.assertGreater(len(answer["files"]), 2)
        first = answer["files"][0]
        self.assertRegex(first, r"split-00001-of-0000\d\.gguf$")
        whole, split = (self.json_of("inspect", m, "--tensors")["tensors"] for m in (self.gguf, first))
        self.assertEqual(whole, split)
        back = self.folder / "sharded"
        answer = self.json_of("convert", self.gguf, back, "--max-shard-size", "1MB")
        self.assertTrue((back / "model.safetensors.index.json").is_file())
        tensors = {}
        for file in back.glob("*.safetensors"):
            tensors.update(read_safetensors(file))
        self.assertEqual(tensors, read_safetensors(self.hf / "model.safetensors"))

    def test_quantized_tensors_need_a_word(self):
        small = self.folder / "q8.gguf"
        self.ok("quantize", self.gguf, "Q8_0", small)
        self.fails(3, "convert", small, self.folder / "q8-hf")
        self.assertFalse((self.folder / "q8-hf").exists())
        answer = self.json_of("convert", small, self.folder / "q8-hf", "--dequantize", "F32")
        self.assertFalse(answer["lossless"])
        tensors = read_safetensors(self.folder / "q8-hf" / "model.safetensors")
        self.assertEqual(set(t[0] for t in tensors.values()), {"F32"})
        # Q8_0's step is a 127th of the largest value of a block.
        import array
        name = "model.layers.0.mlp.up_proj.weight"
        new, old = array.array("f", tensors[name][2]), array.array("f", read_safetensors(self.hf / "model.safetensors")[name][2])
        largest = max(map(abs, old))
        self.assertLess(max(abs(a - b) for a, b in zip(new, old)), largest / 127)
        self.fails(2, "convert", small, self.folder / "q8-hf", says="exists")

    def test_requantize(self):
        out = self.folder / "requantized.gguf"
        self.ok("convert", self.hf, out, "--requantize", "Q5_1")
        types = self.types(out)
        self.assertEqual(types["blk.0.ffn_up.weight"], "Q5_1")
        self.assertEqual(types["token_embd.weight"], "Q5_1")
        self.assertEqual(types["blk.0.attn_norm.weight"], "F32")


class Quantize(TinyModel):
    def test_every_mix_writes_what_it_says(self):
        for mix, body, head in (("Q8_0", "Q8_0", "Q8_0"), ("Q4_0", "Q4_0", "Q6_K"), ("Q4_K_M", "Q4_K", "Q6_K"), ("q6_k", "Q6_K", "Q6_K"), ("Q2_K", "Q2_K", "Q6_K"),
                                ("IQ4_XS", "IQ4_XS", "Q6_K"), ("IQ4_NL", "IQ4_NL", "Q6_K"), ("Q3_K_L", "Q3_K", "Q6_K"), ("Q5_1", "Q5_1", "Q6_K"), ("BF16", "BF16", "BF16")):
            with self.subTest(mix):
                out = self.folder / f"{mix}.gguf"
                answer = self.json_of("quantize", self.gguf, mix, out)
                types = self.types(out)
                self.assertEqual(types["blk.0.ffn_gate.weight"], body)
                self.assertEqual(types["token_embd.weight"], head)  # tied: it is the head
                self.assertEqual(types["output_norm.weight"], "F32")
                self.assertEqual(answer["bytes"], os.path.getsize(out))
                self.ok("run", out, "hello", "--max-tokens", "2", "--temperature", "0")

    def test_pure(self):
        out = self.folder / "pure.gguf"
        self.ok("quantize", self.gguf, "Q4_K", out, "--pure")
        self.assertEqual({t for n, t in self.types(out).items() if not n.endswith("norm.weight")}, {"Q4_K"})

    def test_from_a_directory_is_the_same_bytes(self):
        a, b = self.folder / "a.gguf", self.folder / "b.gguf"
        self.ok("quantize", self.gguf, "Q4_K_S", a)
        self.ok("quantize", self.hf, "Q4_K_S", b, "--threads", "1")
        self.assertEqual(read_gguf(a)[1], read_gguf(b)[1])
        size = sum(map(self.padded, read_gguf(a)[1].values()))  # the data section, at the end of the file
        self.assertGreater(size, 400_000)
        self.assertEqual(a.read_bytes()[-size:], b.read_bytes()[-size:])

    def write_imatrix(self, path, factor):
        """An importance matrix as llama-imatrix writes it, for two weights."""
        def string(s):
            return struct.pack("<Q", len(s)) + s.encode()
        keys = [("general.type", 8, string("imatrix")), ("imatrix.datasets", 9, struct.pack("<IQ", 8, 1) + string("text.txt")),
                ("imatrix.chunk_count", 4, struct.pack("<I", 3)), ("imatrix.chunk_size", 4, struct.pack("<I", 512))]
        tensors, data = [], b""
        for weight in ("blk.0.ffn_up.weight", "blk.1.ffn_up.weight"):
            sums = struct.pack("<256f", *[float(1 + factor * (i % 7)) for i in range(256)])
            for name, values in ((weight + ".in_sum2", sums), (weight + ".counts", struct.pack("<f", 2.0))):
                tensors.append((name, len(values) // 4, len(data)))
                data += values + b"\0" * (-len(values) % 32)
        head = struct.pack("<4sIqq", b"GGUF", 3, len(tensors), len(keys)) + b"".join(string(k) + struct.pack("<I", t) + v for k, t, v in keys)
        head += b"".join(string(n) + struct.pack("<IqIQ", 1, size, 0, offset) for n, size, offset in tensors)
        path.write_bytes(head + b"\0" * (-len(head) % 32) + data)

    def test_imatrix_changes_what_it_names(self):
        self.write_imatrix(self.folder / "im.gguf", 50)
        plain, weighted = self.folder / "plain.gguf", self.folder / "weighted.gguf"
        self.ok("quantize", self.gguf, "Q4_K_S", plain)
        self.ok("quantize", self.gguf, "Q4_K_S", weighted, "--imatrix", self.folder / "im.gguf")
        metadata, tensors = read_gguf(weighted)
        self.assertEqual(metadata["quantize.imatrix.entries_count"], 2)
        self.assertEqual(metadata["quantize.imatrix.dataset"], "text.txt")
        bytes_of = {}
        for path in (plain, weighted):
            _, infos = read_gguf(path)
            data = path.read_bytes()
            last = max(infos.values(), key=lambda t: t[2])
            start = len(data) - self.padded(last) - last[2]
            bytes_of[path] = {n: data[start + o:start + o + self.size(s, k)] for n, (s, k, o) in infos.items()}
        changed = {n for n in tensors if bytes_of[plain][n] != bytes_of[weighted][n]}
        self.assertEqual(changed, {"blk.0.ffn_up.weight", "blk.1.ffn_up.weight"})

    @staticmethod
    def size(shape, kind):
        block, size = {0: (1, 4), 12: (256, 144), 13: (256, 176), 14: (256, 210)}[kind]
        n = 1
        for s in shape:
            n *= s
        return n // block * size

    def padded(self, info):
        n = self.size(info[0], info[1])
        return n + -n % 32


class Inspect(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.hf = write_tiny_model(cls.folder / "tiny")

    def test_figures(self):
        parameters = sum(len(b) // 4 for _, _, b in read_safetensors(self.hf / "model.safetensors").values())
        answer = self.json_of("inspect", self.hf, "--context", "100", "--tensors", "--metadata")
        self.assertEqual(answer["parameters"], parameters)
        self.assertEqual(answer["bits_per_weight"], 32)
        self.assertEqual(answer["architecture"], "llama")
        self.assertEqual(answer["tiers"]["full"]["parameters"], parameters)
        self.assertEqual(answer["tiers"]["low"]["tensors"], 0)
        # Keys and values: 2 layers, 2 heads of 64, 100 tokens; Q8_0 takes 34 bytes for 32 values.
        self.assertEqual(answer["memory"]["cache_bytes"], {"F16": 2 * 2 * 2 * 64 * 100 * 2, "Q8_0": 2 * 2 * 2 * 100 * 68})
        self.assertEqual(answer["memory"]["weight_bytes"]["as stored"], 4 * parameters)
        self.assertEqual(len(answer["tensors"]), answer["tiers"]["full"]["tensors"])
        self.assertEqual(answer["metadata"]["hidden_size"], 256)

    def test_text_names_the_tiers(self):
        small = self.folder / "small.gguf"
        self.ok("quantize", self.hf, "Q4_K_M", small)
        text = self.ok("inspect", small, "--tensors").out
        for word in ("ultra-low", "low", "medium", "full", "Q4_K", "blk.0.attn_q.weight", "memory at 1024 tokens", "cache"):
            self.assertIn(word, text)

    def test_weights_at_a_tier_are_what_quantize_writes(self):
        answer = self.json_of("inspect", self.hf)
        for mix, key in (("Q8_0", "medium (Q8_0)"), ("Q4_K_M", "low (Q4_K_M)"), ("Q2_K", "ultra-low (Q2_K)")):
            out = self.folder / f"tier-{mix}.gguf"
            self.ok("quantize", self.hf, mix, out)
            self.assertEqual(self.json_of("inspect", out)["bytes"], answer["memory"]["weight_bytes"][key])


main()
