#!/usr/bin/env python3
"""hone pull and models named org/name, against a local server that speaks the Hub's protocol; the cache it leaves
is read back by huggingface_hub where that package is installed."""
import hashlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time

import support
from fake_hub import COMMIT, FakeHub, Repository, git_blob_id
from support import CliTest, hone, main, write_tiny_model


class Hub(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        model = write_tiny_model(cls.folder / "tiny", layers=1)
        cls.model_files = {p.name: p.read_bytes() for p in model.iterdir()}
        cls.weights = cls.model_files["model.safetensors"]
        assert hone("quantize", model, "Q8_0", cls.folder / "q8.gguf").returncode == 0
        cls.gguf = (cls.folder / "q8.gguf").read_bytes()

    def setUp(self):
        rest = {"README.md": b"# tiny\n", "pytorch_model.bin": b"pickled", "sub/folder/notes.txt": b"deep"}
        self.hub = FakeHub({
            "org/tiny": Repository({**self.model_files, **rest}, large={"model.safetensors", "pytorch_model.bin"}, revisions=("main", "v1.0", "refs/pr/1")),
            "org/secret": Repository(self.model_files, large={"model.safetensors"}, token="hf_test"),
            "org/quants": Repository({"a-Q8_0.gguf": self.gguf, "b-Q4_0.gguf": self.gguf, "README.md": b"x"}, large={"a-Q8_0.gguf", "b-Q4_0.gguf"}),
            "org/one-quant": Repository({"a-Q8_0.gguf": self.gguf}, large={"a-Q8_0.gguf"}),
        })
        self.home = self.folder / f"home-{random.random()}"
        self.env = {"HF_ENDPOINT": self.hub.url, "HF_HOME": str(self.home), "HF_HUB_OFFLINE": "0", "HF_TOKEN": "", "no_proxy": "*"}
        self.repo = self.home / "hub" / "models--org--tiny"

    def tearDown(self):
        self.hub.close()

    def requests(self, method, end):
        return [r for r in self.hub.log if r[1] == method and r[2].endswith(end)]

    def test_cache_layout(self):
        answer = self.json_of("pull", "org/tiny", env=self.env)
        snapshot = self.repo / "snapshots" / COMMIT
        self.assertEqual(answer["path"], str(snapshot))
        self.assertEqual((self.repo / "refs" / "main").read_text(), COMMIT)
        names = {str(p.relative_to(snapshot)) for p in snapshot.rglob("*") if not p.is_dir()}
        self.assertEqual(names, (set(self.model_files) | {"README.md", "sub/folder/notes.txt"}))  # no pickled weights
        for name in names:
            link = snapshot / name
            self.assertTrue(link.is_symlink(), name)
            self.assertFalse(os.path.isabs(os.readlink(link)))
        self.assertEqual((snapshot / "sub/folder/notes.txt").read_bytes(), b"deep")
        blob = (snapshot / "model.safetensors").resolve()
        self.assertEqual((blob.parent, blob.name), (self.repo.resolve() / "blobs", hashlib.sha256(self.weights).hexdigest()))
        self.assertEqual((snapshot / "README.md").resolve().name, git_blob_id(b"# tiny\n"))
        self.assertEqual([p.name for p in self.repo.rglob("*") if p.name.endswith((".incomplete", ".tmp"))], [])
        # All of it again: nothing is downloaded twice.
        before = len(self.requests("GET", "model.safetensors"))
        again = self.json_of("pull", "org/tiny", env=self.env)
        self.assertEqual(len(self.requests("GET", "model.safetensors")), before)
        self.assertFalse(any(f["downloaded"] for f in again["files"]))

    def test_huggingface_hub_finds_it(self):
        try:
            import huggingface_hub
        except ImportError:
            print("skipped: huggingface_hub is not installed, the cache is not read back by it")
            return
        self.ok("pull", "org/tiny", env=self.env)
        path = huggingface_hub.snapshot_download("org/tiny", cache_dir=self.home / "hub", local_files_only=True)
        self.assertEqual(pathlib.Path(path), self.repo / "snapshots" / COMMIT)
        self.assertEqual(pathlib.Path(huggingface_hub.hf_hub_download("org/tiny", "sub/folder/notes.txt", cache_dir=self.home / "hub", local_files_only=True)).read_bytes(), b"deep")

    def test_hone_finds_what_huggingface_hub_left(self):
        try:
            import huggingface_hub
        except ImportError:
            print("skipped: huggingface_hub is not installed, its downloads are not read")
            return
        huggingface_hub.snapshot_download("org/tiny", cache_dir=self.home / "hub", endpoint=self.hub.url, token=False)
        self.hub.log.clear()
        self.ok("inspect", "org/tiny", env=self.env)
        again = self.json_of("pull", "org/tiny", env=self.env)
        self.assertFalse(any(f["downloaded"] for f in again["files"]), again)

    def test_revisions(self):
        self.ok("pull", "org/tiny", "--revision", "v1.0", "--include", "*.json", env=self.env)
        self.assertEqual((self.repo / "refs" / "v1.0").read_text(), COMMIT)
        self.ok("pull", "org/tiny@refs/pr/1", "--include", "*.md", env=self.env)
        self.assertEqual((self.repo / "refs" / "refs" / "pr" / "1").read_text(), COMMIT)
        self.ok("pull", "org/tiny", "--revision", COMMIT, "--include", "*.md", env=self.env)
        self.fails(3, "pull", "org/tiny", "--revision", "none", env=self.env, says="not found")
        self.fails(2, "pull", "org/tiny", "--revision", "../up", env=self.env)

    def test_include(self):
        answer = self.json_of("pull", "org/tiny", "--include", "*.json", "--include", "sub/*", env=self.env)
        self.assertEqual({f["name"] for f in answer["files"]}, {"config.json", "tokenizer.json", "tokenizer_config.json", "sub/folder/notes.txt"})
        self.fails(3, "pull", "org/tiny", "--include", "*.none", env=self.env, says="--include")

    def test_a_cut_transfer_resumes(self):
        self.hub.cut_after["model.safetensors"] = 100_000
        self.ok("pull", "org/tiny", env=self.env)
        gets = self.requests("GET", "model.safetensors")
        ranges = [r[3].get("Range") for r in gets if r[0] == "storage"]
        self.assertEqual(ranges, [None, "bytes=100000-"])
        self.assertEqual((self.repo / "snapshots" / COMMIT / "model.safetensors").read_bytes(), self.weights)

    def test_a_partial_file_of_an_earlier_run_is_used(self):
        blobs = self.repo / "blobs"
        blobs.mkdir(parents=True)
        name = hashlib.sha256(self.weights).hexdigest()
        (blobs / (name + ".incomplete")).write_bytes(self.weights[:50_000])
        self.ok("pull", "org/tiny", env=self.env)
        self.assertEqual([r[3].get("Range") for r in self.requests("GET", "model.safetensors") if r[0] == "storage"], ["bytes=50000-"])
        self.assertEqual((blobs / name).read_bytes(), self.weights)

    def test_a_server_without_ranges(self):
        self.hub.ignore_ranges = True
        blobs = self.repo / "blobs"
        blobs.mkdir(parents=True)
        name = hashlib.sha256(self.weights).hexdigest()
        (blobs / (name + ".incomplete")).write_bytes(b"x" * 50_000)
        self.ok("pull", "org/tiny", env=self.env)
        self.assertEqual((blobs / name).read_bytes(), self.weights)

    def test_wrong_bytes_are_refused(self):
        self.hub.corrupt.add("model.safetensors")
        self.fails(3, "pull", "org/tiny", env=self.env, says="SHA-256")
        self.assertFalse((self.repo / "snapshots" / COMMIT / "model.safetensors").exists())
        self.assertEqual([p for p in (self.repo / "blobs").iterdir() if "incomplete" in p.name], [])

    def test_tokens_go_to_the_endpoint_only(self):
        run = self.fails(4, "pull", "org/secret", env=self.env, says="HF_TOKEN")
        self.assertIn("restricted", run.err)
        self.fails(4, "pull", "org/secret", env={**self.env, "HF_TOKEN": "hf_wrong"})
        self.hub.log.clear()
        self.ok("pull", "org/secret", env={**self.env, "HF_TOKEN": "hf_test"})
        sent = {(server, "Authorization" in headers) for server, _, _, headers in self.hub.log}
        self.assertEqual(sent, {("hub", True), ("storage", False)})
        # The file that a login leaves.
        shutil.rmtree(self.home)
        self.home.mkdir()
        (self.home / "token").write_text("hf_test\n")
        self.ok("pull", "org/secret", env=self.env)

    def test_names_that_do_not_exist(self):
        self.fails(4, "pull", "org/none", env=self.env, says="org/none")
        self.fails(2, "pull", "../../etc", env=self.env)
        self.fails(2, "pull", "name-without-org", env=self.env)

    def test_renamed_repository(self):
        self.hub.rename["old/name"] = "org/tiny"
        answer = self.json_of("pull", "old/name", env=self.env)
        self.assertIn("models--old--name", answer["path"])

    def test_unsafe_file_names(self):
        for name in ("../evil", "/etc/evil", "a/../../evil", "a//b", "c\\d"):
            self.hub.unsafe_names = [name]
            self.fails(3, "pull", "org/tiny", env=self.env, says="unsafe")
        self.assertFalse((self.home / "hub" / "evil").exists())

    def test_offline(self):
        offline = {**self.env, "HF_HUB_OFFLINE": "1"}
        self.fails(4, "pull", "org/tiny", env=offline, says="HF_HUB_OFFLINE")
        self.fails(4, "inspect", "org/tiny", env=offline, says="HF_HUB_OFFLINE")
        self.ok("pull", "org/tiny", env=self.env)
        self.hub.log.clear()
        self.ok("inspect", "org/tiny", env=offline)
        self.assertEqual(self.hub.log, [])

    def test_model_arguments(self):
        answer = self.json_of("inspect", "org/one-quant", env=self.env)
        self.assertIn("Q8_0", answer["formats"])
        self.hub.log.clear()
        self.ok("tokenize", "org/one-quant", "hello", env=self.env)
        self.assertEqual(self.hub.log, [])  # from the cache
        run = self.fails(2, "inspect", "org/quants", env=self.env, says="a-Q8_0.gguf")
        self.assertIn("b-Q4_0.gguf", run.err)
        self.ok("inspect", "org/quants/b-Q4_0.gguf", env=self.env)
        self.assertEqual(self.requests("GET", "a-Q8_0.gguf"), [])
        self.assertEqual(self.ok("run", "org/tiny", "hello", "--max-tokens", "1", env=self.env).returncode, 0)

    def test_no_server(self):
        started = time.time()
        self.fails(4, "pull", "org/tiny", env={**self.env, "HF_ENDPOINT": "http://127.0.0.1:9"}, says="127.0.0.1:9")
        self.assertLess(time.time() - started, 30)
        self.fails(2, "pull", "org/tiny", env={**self.env, "HF_ENDPOINT": "ftp://x"}, says="HF_ENDPOINT")

    def test_cache_variables(self):
        for name, value, expected in (("HF_HUB_CACHE", "direct", "direct"), ("XDG_CACHE_HOME", "xdg", "xdg/huggingface/hub")):
            env = {**self.env, "HF_HOME": "", name: str(self.folder / value)}
            self.ok("pull", "org/tiny", "--include", "*.md", env=env)
            self.assertTrue((self.folder / expected / "models--org--tiny" / "refs" / "main").is_file(), name)


main()
