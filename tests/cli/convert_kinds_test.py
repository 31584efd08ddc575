#!/usr/bin/env python3
"""convert between GGUF, Hugging Face, MLX, GPTQ and compressed-tensors: the same tensor bytes there and back, the same
text at temperature 0, and an error figure where numbers had to change."""
import array
import json

import support
from support import CliTest, main, read_gguf, read_safetensors, write_tiny_model


def tensor_bytes(path):
    """The GGUF's tensors by name, each with its bytes."""
    _, tensors = read_gguf(path)
    data = path.read_bytes()
    block = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 39: (32, 17)}
    sizes = {}
    for name, (shape, kind, offset) in tensors.items():
        count = 1
        for s in shape:
            count *= s
        sizes[name] = count // block[kind][0] * block[kind][1]
    last = max(tensors, key=lambda n: tensors[n][2])
    start = len(data) - (sizes[last] + -sizes[last] % 32) - tensors[last][2]
    return {n: (shape, kind, data[start + o:start + o + sizes[n]]) for n, (shape, kind, o) in tensors.items()}


class Kinds(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.hf = write_tiny_model(cls.folder / "tiny")
        cls.gguf = cls.folder / "tiny.gguf"
        run = support.hone("convert", cls.hf, cls.gguf)
        assert run.returncode == 0, run.err

    def quantized(self, kind):
        out = self.folder / f"{kind}.gguf"
        if not out.exists():
            self.ok("quantize", self.gguf, kind, out, "--pure")
        return out

    def text_of(self, model):
        return self.ok("run", model, "hello", "--raw", "--max-tokens", "24", "--temperature", "0").out

    def there_and_back(self, source, kind, name):
        there, back = self.folder / f"{name}-{kind}", self.folder / f"{name}-{kind}.back.gguf"
        answer = self.json_of("convert", source, there, "--to", kind)
        self.assertTrue(answer["lossless"], answer)
        self.assertEqual(answer["kind"], kind)
        self.assertTrue(self.json_of("convert", there, back)["lossless"])
        self.assertEqual(tensor_bytes(back), tensor_bytes(source))
        self.assertEqual(self.text_of(there), self.text_of(source))

    def test_mlx_holds_what_gguf_holds(self):
        for kind in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"):
            with self.subTest(kind):
                self.there_and_back(self.quantized(kind), "mlx", kind)

    def test_plain_weights_go_through_every_directory(self):
        for kind in ("hf", "mlx"):
            with self.subTest(kind):
                self.there_and_back(self.gguf, kind, "plain")

    def test_all_the_way_round(self):
        """GGUF, Hugging Face, MLX and back to GGUF."""
        hf, mlx, back = self.folder / "round", self.folder / "round-mlx", self.folder / "round.gguf"
        for a, b in ((self.gguf, hf), (hf, mlx), (mlx, back)):
            self.assertTrue(self.json_of("convert", a, b)["lossless"])
        self.assertEqual(tensor_bytes(back), tensor_bytes(self.gguf))
        self.assertEqual(self.text_of(back), self.text_of(self.gguf))

    def test_the_name_says_which(self):
        for name, kind in (("Tiny-mlx-4bit", "mlx"), ("tiny_MLX", "mlx"), ("Tiny-GPTQ-Int4", "gptq"), ("tinymlx", "hf")):
            with self.subTest(name):
                extra = ("--requantize", "4bit") if kind != "hf" else ()
                self.assertEqual(self.json_of("convert", self.hf, self.folder / name, *extra)["kind"], kind)

    def test_requantized_groups_state_their_error(self):
        worse = {}
        for bits in ("8bit", "4bit", "2bit"):
            answer = self.json_of("convert", self.hf, self.folder / f"re-{bits}", "--to", "mlx", "--requantize", bits)
            self.assertFalse(answer["lossless"])
            worse[bits] = {e["class"]: e["relative_error"] for e in answer["errors"]}
            self.assertIn("ffn down", worse[bits])
            self.assertNotIn("norms", worse[bits])
        for name in worse["4bit"]:
            self.assertLess(worse["8bit"][name], worse["4bit"][name])
            self.assertLess(worse["4bit"][name], worse["2bit"][name])
        config = json.loads((self.folder / "re-4bit" / "config.json").read_text())
        self.assertEqual(config["quantization"]["bits"], 4)
        self.assertEqual(config["quantization"]["group_size"], 64)

    def test_the_error_is_that_of_the_file(self):
        """The figure against the values as this script decodes them."""
        out = self.folder / "error-mlx"
        answer = self.json_of("convert", self.hf, out, "--requantize", "INT8_G32")
        name = "model.layers.0.mlp.up_proj"
        packed, original = {}, {}
        for file in out.glob("*.safetensors"):
            packed.update(read_safetensors(file))
        original.update(read_safetensors(self.hf / "model.safetensors"))
        error = norm = 0
        for layer in (0, 1):
            name = f"model.layers.{layer}.mlp.up_proj"
            codes = packed[name + ".weight"][2]
            scales, biases = (array.array("f", packed[f"{name}.{part}"][2]) for part in ("scales", "biases"))
            weights = array.array("f", original[name + ".weight"][2])
            for i, w in enumerate(weights):
                error += (w - (scales[i // 32] * codes[i] + biases[i // 32])) ** 2
                norm += w * w
        stated = {e["class"]: e["relative_error"] for e in answer["errors"]}["ffn up"]
        self.assertAlmostEqual(stated, (error / norm) ** 0.5, delta=1e-6)

    def test_what_cannot_be_held_is_refused(self):
        source = self.quantized("Q4_K")
        self.fails(3, "convert", source, self.folder / "k-mlx", says="name a format")
        self.assertFalse((self.folder / "k-mlx").exists())
        answer = self.json_of("convert", source, self.folder / "k-mlx", "--requantize", "5bit")
        self.assertFalse(answer["lossless"])
        self.fails(2, "convert", self.hf, self.folder / "bad-mlx", "--requantize", "9bit", says="9bit")

    def test_gptq_and_compressed_tensors(self):
        for kind, spec in (("gptq", "4bit"), ("gptq", "8bit_g32"), ("gptq", "4bit_asym"), ("compressed-tensors", "4bit_g32"),
                           ("compressed-tensors", "8bit"), ("compressed-tensors", "4bit_asym"), ("compressed-tensors", "fp8")):
            with self.subTest(kind=kind, spec=spec):
                out = self.folder / f"{kind}-{spec}"
                answer = self.json_of("convert", self.hf, out, "--to", kind, "--requantize", spec)
                self.assertFalse(answer["lossless"])
                self.assertTrue(answer["errors"])
                config = json.loads((out / "config.json").read_text())["quantization_config"]
                self.assertEqual(config["quant_method"], kind)
                layout = self.json_of("inspect", out)["layout"]
                self.assertEqual((layout["method"], layout["modules"]), (kind, 14))
                self.assertIn("; 14 matrices", self.ok("inspect", out).out)
                self.text_of(out)
                plain = self.json_of("convert", out, self.folder / f"{kind}-{spec}-plain", "--dequantize", "F32")
                self.assertEqual(plain["errors"], [])
                self.assertEqual(self.text_of(self.folder / f"{kind}-{spec}-plain"), self.text_of(out))

    def test_tokenizer_only(self):
        vocabulary, folder = self.folder / "vocabulary.gguf", self.folder / "tokenizer"
        self.ok("convert", self.hf, vocabulary, "--tokenizer-only")
        metadata, tensors = read_gguf(vocabulary)
        self.assertEqual(len(tensors), 0)
        self.assertEqual(metadata["general.architecture"], "llama")
        self.ok("convert", vocabulary, folder)
        self.assertTrue((folder / "tokenizer.json").is_file())
        self.assertFalse((folder / "config.json").exists())
        ids = [self.ok("tokenize", m, "hello <|end|> Zé").out for m in (self.hf, vocabulary, folder, folder / "tokenizer.json")]
        self.assertEqual(len(set(ids)), 1, ids)
        self.fails(3, "run", folder, "hello", says="no weights")
        self.fails(2, "convert", self.hf, self.folder / "t.gguf", "--tokenizer-only", "--requantize", "Q8_0", says="--tokenizer-only")


main()
