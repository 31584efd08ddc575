#!/usr/bin/env python3
"""Truncated, corrupted and hostile files, unknown architectures, missing tensors, full disks, read-only folders:
one line, the right exit code, nothing left behind, no memory that the file's size does not justify."""
import json
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time

import support
from support import CliTest, hone, main, write_safetensors, write_tiny_model, read_gguf


def skip(reason):
    print("skipped: " + reason)


class BadInput(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.hf = write_tiny_model(cls.folder / "tiny", layers=1)
        cls.gguf = cls.folder / "tiny.gguf"
        run = hone("convert", cls.hf, cls.gguf)
        assert run.returncode == 0, run.err
        cls.bytes = cls.gguf.read_bytes()

    def variant(self, name, data):
        path = self.folder / name
        path.write_bytes(data)
        return path

    def copy_hf(self, name):
        path = self.folder / name
        shutil.copytree(self.hf, path)
        return path

    def test_missing_path(self):
        self.fails(3, "inspect", self.folder / "none.gguf", says="none.gguf")
        self.fails(3, "run", "nothing-here", "hi", says="nothing-here")

    def test_truncated_gguf(self):
        for size in (0, 3, 4, 8, 20, 24, 100, 1000, len(self.bytes) // 2, len(self.bytes) - 33):
            with self.subTest(size):
                self.fails(3, "inspect", self.variant("short.gguf", self.bytes[:size]), says="short.gguf")

    def test_corrupted_header(self):
        rng = random.Random(7)
        codes = {}
        for i in range(60):
            data = bytearray(self.bytes)
            for _ in range(3):
                data[rng.randrange(0, 4096)] = rng.randrange(256)
            run = hone("inspect", self.variant("bad.gguf", bytes(data)))
            codes[run.returncode] = codes.get(run.returncode, 0) + 1
            self.assertIn(run.returncode, (0, 3), run.err)
            if run.returncode:
                self.assertEqual(len(run.err.splitlines()), 1, run.err)
        self.assertGreater(codes.get(3, 0), 5, codes)

    def test_huge_counts_take_no_memory(self):
        for name, head in (("tensors", struct.pack("<4sIqq", b"GGUF", 3, 1 << 60, 0)), ("keys", struct.pack("<4sIqq", b"GGUF", 3, 0, 1 << 60)),
                           ("string", struct.pack("<4sIqqQ", b"GGUF", 3, 0, 1, 1 << 62)),
                           ("array", struct.pack("<4sIqqQ1sIIQ", b"GGUF", 3, 0, 1, 1, b"a", 9, 4, 1 << 61))):
            path = self.variant(name + ".gguf", head + b"\0" * 64)
            # A limit on memory turns a careless allocation into code 4.
            limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
            with self.subTest(name):
                self.fails(3, "inspect", path, preexec_fn=limit)
        header = b'{"a":{"dtype":"F32","shape":[1152921504606846976],"data_offsets":[0,4611686018427387904]}}'
        path = self.copy_hf("huge")
        (path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
        self.fails(3, "inspect", path, says="model.safetensors")
        (path / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 62) + header)
        self.fails(3, "inspect", path, says="model.safetensors")

    def test_unknown_architecture(self):
        data = self.bytes.replace(struct.pack("<Q", 5) + b"llama", struct.pack("<Q", 5) + b"zebra", 1)
        self.assertNotEqual(data, self.bytes)
        path = self.variant("zebra.gguf", data)
        self.fails(3, "run", path, "hi", says="zebra")
        self.assertIn("zebra", self.ok("inspect", path).out)  # inspect still shows what there is
        hf = self.copy_hf("zebra")
        config = json.loads((hf / "config.json").read_text())
        config.update(model_type="zebra", architectures=["ZebraForCausalLM"])
        (hf / "config.json").write_text(json.dumps(config))
        self.fails(3, "run", hf, "hi", says="ebra")

    def test_missing_tensor_and_wrong_shape(self):
        tensors = support.read_safetensors(self.hf / "model.safetensors")
        import array
        full = {n: (s, array.array("f", b)) for n, (_, s, b) in tensors.items()}
        hf = self.copy_hf("missing")
        write_safetensors(hf / "model.safetensors", {n: t for n, t in full.items() if "k_proj" not in n})
        self.fails(3, "run", hf, "hi", says="k_proj")
        name = "model.layers.0.mlp.up_proj.weight"
        shape, values = full[name]
        write_safetensors(hf / "model.safetensors", {**full, name: ([shape[0] // 2, shape[1]], values[:len(values) // 2])})
        self.fails(3, "run", hf, "hi", says="up_proj")

    def test_broken_sidecars(self):
        for file in ("config.json", "tokenizer.json"):
            with self.subTest(file):
                hf = self.copy_hf("broken-" + file)
                (hf / file).write_text('{"model_type": "llama", ')
                self.fails(3, "run", hf, "hi", says=file)
        hf = self.copy_hf("no-config")
        (hf / "config.json").unlink()
        self.fails(3, "run", hf, "hi", says="config.json")

    def test_no_partial_output(self):
        short = self.variant("cut.gguf", self.bytes[:len(self.bytes) - 4096])
        before = set(os.listdir(self.folder))
        self.fails(3, "quantize", short, "Q8_0", self.folder / "never.gguf")
        self.fails(2, "quantize", self.gguf, "Q9_9", self.folder / "never.gguf", says="Q9_9")
        self.fails(3, "quantize", self.gguf, "Q4_0", self.folder / "never.gguf", "--imatrix", self.gguf, says="imatrix")
        self.fails(2, "quantize", self.gguf, "Q4_0", self.gguf, says="same")
        self.fails(2, "convert", self.gguf, "/dev/null", "--to", "gguf", says="no regular file")
        self.assertEqual(set(os.listdir(self.folder)), before)

    def test_missing_and_read_only_folders(self):
        self.fails(4, "quantize", self.gguf, "Q8_0", self.folder / "no" / "such.gguf", says="no")
        if os.getuid() != 0:
            locked = self.folder / "locked"
            locked.mkdir(mode=0o500)
            self.fails(4, "quantize", self.gguf, "Q8_0", locked / "x.gguf", says="locked")
            return
        # Root writes everywhere but into /proc; as nobody the folder of another user is read-only.
        self.fails(4, "quantize", self.gguf, "Q8_0", "/proc/x.gguf", says="/proc/x.gguf")

    def test_full_disk(self):
        # A limit on file size fails writes as a full disk does.
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        folder = self.folder / "full"
        folder.mkdir()
        for args in (("quantize", self.gguf, "Q8_0", folder / "x.gguf"), ("convert", self.hf, folder / "x.gguf"), ("convert", self.gguf, folder / "hf")):
            with self.subTest(args[0]):
                self.fails(4, *args, preexec_fn=limit, restore_signals=False)
                self.assertEqual([p for p in folder.rglob("*") if p.is_file()], [])

    def test_a_real_full_disk(self):
        mount = self.folder / "small-disk"
        mount.mkdir()
        if os.getuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", mount], capture_output=True).returncode != 0:
            return skip("no small file system can be mounted here, a full disk is only imitated by a limit")
        try:
            run = self.fails(4, "quantize", self.gguf, "Q8_0", mount / "x.gguf", says="x.gguf")
            self.assertIn("space", run.err)
            self.assertEqual(os.listdir(mount), [])
        finally:
            subprocess.run(["umount", mount], check=True)

    def test_impossible_budget(self):
        text = self.folder / "text.txt"
        text.write_text("the quick brown fox jumps over the lazy dog. " * 400)
        self.fails(1, "optimize", self.gguf, "--max-size", "1kB", "-o", self.folder / "impossible.gguf", "--calibration", text, "--no-speed")
        self.assertEqual([p for p in os.listdir(self.folder) if p.startswith("impossible")], [])

    def test_interrupt_leaves_nothing(self):
        text = self.folder / "long.txt"
        text.write_text("the quick brown fox jumps over the lazy dog. " * 4000)
        folder = self.folder / "interrupted"
        folder.mkdir()
        run = subprocess.Popen([support.HONE, "optimize", self.gguf, "--max-bpw", "5", "-o", folder / "x.gguf", "--calibration", text,
                                "--calibration-tokens", "20000", "--trial-tokens", "5000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(1.0)
        self.assertIsNone(run.poll(), run.stderr.read() if run.poll() is not None else "")
        run.send_signal(signal.SIGINT)
        started = time.time()
        err = run.communicate(timeout=60)[1].decode()
        self.assertEqual(run.returncode, 130, err)
        self.assertIn("hone: error: interrupted", err)
        self.assertLess(time.time() - started, 10)
        self.assertEqual(os.listdir(folder), [])


class Prompts(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = write_tiny_model(cls.folder / "tiny", layers=1)

    def test_limits(self):
        self.fails(3, "run", self.model, "x" * 3000, says="context")
        self.fails(2, "run", self.model, stdin="", says="empty")
        self.fails(2, "run", self.model, "hi", "--temperature", "-1", says="temperature")
        self.fails(2, "run", self.model, "hi", "--cache", "q4_0", says="q4_0")
        self.fails(2, "run", self.model, "hi", env={"HONE_ISA": "mmx"}, says="mmx")
        self.fails(4, "evaluate", self.model, "--text", self.folder / "none.txt", says="none.txt")
        short = self.folder / "short.txt"
        short.write_text("too short")
        self.fails(3, "evaluate", self.model, "--text", short)


main()
