#!/usr/bin/env python3
"""hone tokenize and hone template against what is known: the byte-level scheme, and the reference packages' results."""
import base64
import json

from support import CliTest, ROOT, SHARED, SPECIAL, hone, main, read_gguf, write_tiny_model


def skip(reason):
    print("skipped: " + reason)


class Tokenize(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = write_tiny_model(cls.folder / "tiny", layers=1)

    def ids(self, *args, **more):
        return [int(x) for x in self.ok("tokenize", self.model, *args, **more).out.split()]

    # One token per byte from id 4 on, in byte order; "hello" is the last merge.
    def test_bytes_and_merges(self):
        self.assertEqual(self.ids("hello"), [4 + 256 + 3])
        self.assertEqual(self.ids("Zé"), [4 + b for b in "Zé".encode()])
        self.assertEqual(self.ids("hello", "world"), [263, 4 + 32] + [4 + b for b in b"world"])

    def test_stdin_file_and_arguments_agree(self):
        text = "hello <|end|> Ünïcode 日本\n\ttabs"
        (self.folder / "text.txt").write_text(text)
        expected = self.ids(text)
        self.assertIn(0, expected)
        self.assertEqual(self.ids("--file", self.folder / "text.txt"), expected)
        self.assertEqual(self.ids(stdin=text), expected)

    def test_plain_leaves_special_tokens_as_text(self):
        self.assertEqual(self.ids("<|end|>", "--plain"), [4 + b for b in b"<|end|>"])

    def test_decode_gives_the_text_back(self):
        text = "hello <|end|> Ünïcode 日本\n\ttabs"
        ids = [str(i) for i in self.ids(text)]
        self.assertEqual(self.ok("tokenize", self.model, "--decode", *ids).out, text)
        self.assertEqual(self.ok("tokenize", self.model, "--decode", stdin=json.dumps([int(i) for i in ids])).out, text)
        self.assertEqual(self.ok("tokenize", self.model, "--decode", "--no-special", *ids).out, text.replace("<|end|>", ""))

    def test_pieces_and_json(self):
        self.assertEqual(self.ok("tokenize", self.model, "hello x", "--pieces").out.splitlines(), ["263\thello", "36\tĠ", "124\tx"])
        answer = self.json_of("tokenize", self.model, "hello", "--pieces")
        self.assertEqual(answer, {"ids": [263], "count": 1, "pieces": ["hello"]})

    def test_a_tokenizer_json_alone_is_enough(self):
        self.assertEqual(self.ok("tokenize", self.model / "tokenizer.json", "hello").out, "263\n")

    def test_bad_ids(self):
        self.fails(3, "tokenize", self.model, "--decode", "1", "x", says="'x'")
        self.fails(3, "tokenize", self.model, "--decode", "999999", says="999999")
        self.fails(2, "tokenize", self.model, "text", "--file", "x")

    def test_reference_ids(self):
        folder = SHARED / "data" / "tokenizers"
        if not folder.is_dir():
            return skip("no shared/data/tokenizers, ids are not compared with the tokenizers package")
        for name in ("gpt2-bytelevel", "llama3-ignore-merges", "metaspace-byte-fallback"):
            tests = json.loads((folder / name / "tests.json").read_text())["tests"]
            # A sample: the unit tests of the text module go through all of them.
            for test in tests[::max(1, len(tests) // 12)]:
                if not test["text"] or "\0" in test["text"]:
                    continue
                with self.subTest(tokenizer=name, text=test["text"]):
                    path = folder / name / "tokenizer.json"
                    self.assertEqual(self.json_of("tokenize", path, stdin=test["text"])["ids"], test["ids_special"])
                    self.assertEqual(self.json_of("tokenize", path, "--no-special", stdin=test["text"])["ids"], test["ids"])
                    decoded = self.json_of("tokenize", path, "--decode", stdin=json.dumps(test["ids_special"]))["text"]
                    self.assertEqual(decoded, test["decoded"])


class SentencePiece(CliTest):
    """A directory that holds a tokenizer.model alone, the file itself, and a GGUF with nothing but its vocabulary; the ids
    are those of the package sentencepiece."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        fixture = json.loads((ROOT / "tests" / "data" / "text" / "sentencepiece.json").read_text())
        cls.texts = fixture["texts"]
        cls.models = {m["name"]: m for m in fixture["models"]}
        for name in ("bpe-llama", "unigram-rules", "unigram-bytes", "word"):
            (cls.folder / name).mkdir()
            (cls.folder / name / "tokenizer.model").write_bytes(base64.b64decode(cls.models[name]["model"]))

    def check(self, source, name):
        # A sample: the unit tests of the text module go through all of them.
        for i in range(3, len(self.texts), 9):
            expected = [int(x) for x in self.models[name]["ids"][i].split()]
            with self.subTest(source=source.name, model=name, text=self.texts[i]):
                self.assertEqual(self.json_of("tokenize", source, "--no-special", stdin=self.texts[i])["ids"], expected)
                decoded = self.json_of("tokenize", source, "--decode", stdin=json.dumps(expected))["text"]
                self.assertEqual(decoded, self.models[name]["texts"][i])

    def test_directory_and_file(self):
        for name in ("bpe-llama", "unigram-rules"):
            self.check(self.folder / name, name)
            self.check(self.folder / name / "tokenizer.model", name)

    def test_as_gguf_without_weights(self):
        for name, model in (("bpe-llama", "llama"), ("unigram-bytes", "t5")):
            out = self.folder / (name + ".gguf")
            self.ok("convert", self.folder / name / "tokenizer.model", out)
            self.check(out, name)
            metadata, tensors = read_gguf(out)
            self.assertEqual(tensors, {})
            self.assertEqual(metadata["tokenizer.ggml.model"], model)
            self.assertEqual(len(metadata["tokenizer.ggml.tokens"]), self.models[name]["size"])
            self.ok("convert", self.folder / name, self.folder / "again.gguf")
            self.assertEqual((self.folder / "again.gguf").read_bytes(), out.read_bytes())

    def test_what_gguf_has_no_form_for(self):
        out = self.folder / "word.gguf"
        self.check(self.folder / "word" / "tokenizer.model", "word")
        self.fails(3, "convert", self.folder / "word" / "tokenizer.model", out, says="GGUF")
        self.assertFalse(out.exists())


class Template(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = write_tiny_model(cls.folder / "tiny", layers=1)

    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    text = "<|system|>Be brief.<|end|><|user|>Hi<|end|>"

    def test_array_and_object(self):
        self.assertEqual(self.ok("template", self.model, stdin=json.dumps(self.messages)).out, self.text + "<|assistant|>")
        self.assertEqual(self.ok("template", self.model, stdin=json.dumps({"messages": self.messages})).out, self.text + "<|assistant|>")
        self.assertEqual(self.ok("template", self.model, "--no-generation-prompt", stdin=json.dumps(self.messages)).out, self.text)

    def test_json_has_the_ids(self):
        answer = self.json_of("template", self.model, stdin=json.dumps(self.messages))
        self.assertEqual(answer["text"], self.text + "<|assistant|>")
        self.assertEqual(answer["ids"][0], SPECIAL.index("<|system|>"))
        self.assertEqual(answer["ids"][-1], SPECIAL.index("<|assistant|>"))

    def test_variables_and_tools(self):
        path = self.folder / "t.jinja"
        path.write_text("{{ tools | tojson }} {{ mood }} {{ eos_token }} {{ strftime_now('%Y-%m-%d') }}")
        data = {"messages": [], "tools": [{"name": "f"}], "variables": {"mood": "calm"}}
        out = self.ok("template", self.model, "--template", path, "--now", "86400", stdin=json.dumps(data)).out
        self.assertEqual(out, '[{"name": "f"}] calm <|end|> 1970-01-02')

    def test_bad_input(self):
        self.fails(3, "template", self.model, stdin="{", says="not valid JSON")
        self.fails(3, "template", self.model, stdin="3", says="array of messages")
        self.fails(3, "template", self.model, stdin="[3]", says="each message")
        path = self.folder / "raise.jinja"
        path.write_text("{{ raise_exception('roles must alternate') }}")
        self.fails(3, "template", "--template", path, stdin="[]", says="roles must alternate")
        path.write_text("{% if %}")
        self.fails(3, "template", "--template", path, stdin="[]")

    def test_published_templates(self):
        folder = SHARED / "data" / "templates"
        if not folder.is_dir():
            return skip("no shared/data/templates, published templates are not compared with jinja2")
        data, expected = json.loads((folder / "cases.json").read_text()), json.loads((folder / "expected.json").read_text())
        cases = {c["name"]: c for c in data["cases"]}
        pairs = 0
        for file, results in expected.items():
            for name, result in list(results.items())[::4]:
                case = cases[name]
                variables = {"bos_token": data["bos_token"], "eos_token": data["eos_token"], **data["template_kwargs"].get(file, {}), **case.get("kwargs", {})}
                given = {"messages": case["messages"], "variables": variables, "add_generation_prompt": case["add_generation_prompt"]}
                given.update({k: case[k] for k in ("tools", "documents") if k in case})
                run = hone("template", "--template", folder / "templates" / file, "--now", self.seconds(data["now"]), stdin=json.dumps(given))
                pairs += 1
                with self.subTest(template=file, case=name):
                    if result["kind"] == "text":
                        self.assertEqual((run.returncode, run.out), (0, result["text"]), run.err)
                    else:
                        self.assertEqual(run.returncode, 3, run.out)
                        self.assertIn(result.get("message", ""), run.err.replace("\\n", "\n"))
        self.assertGreater(pairs, 100)

    @staticmethod
    def seconds(now):
        import calendar
        import time
        return calendar.timegm(time.strptime(now[:19].replace("T", " "), "%Y-%m-%d %H:%M:%S")) if isinstance(now, str) else int(now)


main()
