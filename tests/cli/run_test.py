#!/usr/bin/env python3
"""hone run, evaluate, bench and optimize on a tiny random model: answers, the chat on a terminal, the bare graph,
gates, and the three files of the main job."""
import html.parser
import json
import os
import pty
import re
import select
import signal
import subprocess
import time

import support
from support import CliTest, SHARED, hone, main, npy, read_npz, write_tiny_model


class Answers(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = write_tiny_model(cls.folder / "tiny")

    def test_greedy_is_deterministic(self):
        args = ("run", self.model, "hello", "--temperature", "0", "--max-tokens", "12", "--ignore-end")
        first, second = self.json_of(*args), self.json_of(*args)
        self.assertEqual(first["ids"], second["ids"])
        self.assertEqual(len(first["ids"]), 12)
        self.assertEqual(first["stop_reason"], "token limit")
        # The prompt is the rendered template: <|user|>hello<|end|><|assistant|>
        self.assertEqual(first["prompt_tokens"], 4)
        self.assertEqual(self.ok(*args).out, first["text"] + "\n")

    def test_seeds(self):
        args = ("run", self.model, "hello", "--temperature", "2", "--top-k", "0", "--top-p", "1", "--min-p", "0", "--max-tokens", "16", "--ignore-end")
        texts = [self.json_of(*args, "--seed", s)["ids"] for s in (1, 1, 2)]
        self.assertEqual(texts[0], texts[1])
        self.assertNotEqual(texts[0], texts[2])

    def test_pipe_raw_and_system(self):
        greedy = ("--temperature", "0", "--max-tokens", "8", "--ignore-end")
        piped = self.json_of("run", self.model, *greedy, stdin="hello\n")
        self.assertEqual(piped["ids"], self.json_of("run", self.model, "hello", *greedy)["ids"])
        raw = self.json_of("run", self.model, "hello", "--raw", *greedy)
        self.assertEqual(raw["prompt_tokens"], 1)
        by_hand = self.json_of("run", self.model, "<|user|>hello<|end|><|assistant|>", "--raw", *greedy)
        self.assertEqual(by_hand["ids"], piped["ids"])
        system = self.json_of("run", self.model, "hello", "--system", "x", *greedy)
        self.assertEqual(system["prompt_tokens"], 7)

    def test_stop_string(self):
        args = ("run", self.model, "hello", "--temperature", "3", "--top-k", "0", "--top-p", "1", "--min-p", "0", "--seed", "5", "--max-tokens", "80", "--ignore-end")
        full = self.json_of(*args)["text"]
        stop = next((c for i, c in enumerate(full) if i > 3 and c.isascii() and c.isalnum() and c not in full[:i]), None)
        self.assertIsNotNone(stop, full)
        answer = self.json_of(*args, "--stop", "never said", "--stop", stop)
        self.assertEqual(answer["text"], full[:full.index(stop)])
        self.assertEqual(answer["stop_reason"], "stop string")

    def test_cache_formats_and_threads(self):
        args = ("run", self.model, "hello", "--temperature", "0", "--max-tokens", "6", "--ignore-end")
        one = self.json_of(*args, "--threads", "1")["ids"]
        self.assertEqual(one, self.json_of(*args, "--threads", "2")["ids"])
        self.assertEqual(len(self.json_of(*args, "--cache", "q8_0")["ids"]), 6)

    def test_context_is_a_limit(self):
        answer = self.json_of("run", self.model, "hello", "--context", "16", "--ignore-end", "--temperature", "0")
        self.assertLessEqual(answer["prompt_tokens"] + len(answer["ids"]), 17)


class Speculation(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = write_tiny_model(cls.folder / "tiny")
        cls.other = write_tiny_model(cls.folder / "other", layers=1, seed=2)
        cls.greedy = ("run", cls.model, "hello hello hello", "--temperature", "0", "--max-tokens", "60", "--ignore-end")

    def test_the_same_words_whoever_guesses(self):
        plain = self.json_of(*self.greedy, "--speculate", "off")
        self.assertEqual(plain["speculation"], {"drafted": 0, "accepted": 0, "runs": 0})
        looked_up = self.json_of(*self.greedy, "--speculate", "ngram", "--draft-tokens", "3")
        self.assertEqual(looked_up["ids"], plain["ids"])
        self.assertGreater(looked_up["speculation"]["drafted"], 0)
        self.assertLessEqual(looked_up["speculation"]["drafted"], 3 * looked_up["speculation"]["runs"])
        self.assertEqual(self.json_of(*self.greedy)["ids"], plain["ids"])
        for draft in (self.model, self.other):
            drafted = self.json_of(*self.greedy, "--draft", draft)
            self.assertEqual(drafted["ids"], plain["ids"])
        same = self.json_of(*self.greedy, "--draft", self.model)["speculation"]
        self.assertGreater(same["drafted"], 0)
        self.assertEqual(same["accepted"], same["drafted"])

    def test_lookup_keeps_the_text_of_a_seed(self):
        args = ("run", self.model, "hello", "--temperature", "0.1", "--max-tokens", "50", "--ignore-end", "--seed", "3")
        self.assertEqual(self.json_of(*args, "--speculate", "off")["ids"], self.json_of(*args, "--speculate", "ngram")["ids"])

    def test_statistics_tell_of_drafts(self):
        said = self.ok(*self.greedy, "--speculate", "ngram", "--stats").err
        self.assertRegex(said, r"\d+ of \d+ drafted tokens accepted")
        self.assertNotIn("drafted", self.ok(*self.greedy, "--speculate", "off", "--stats").err)

    def test_refusals(self):
        self.fails(2, *self.greedy, "--draft", self.other, "--speculate", "off", says="--draft")
        self.fails(2, *self.greedy, "--speculate", "sometimes", says="sometimes")
        self.fails(2, *self.greedy, "--draft-tokens", "0", says="draft-tokens")
        strange = write_tiny_model(self.folder / "strange")
        vocabulary = strange / "tokenizer.json"
        text = vocabulary.read_text()
        self.assertIn('"<|user|>"', text)
        vocabulary.write_text(text.replace('"<|user|>"', '"<|human|>"'))
        self.fails(2, *self.greedy, "--draft", strange, says="cannot draft for")


class Batch(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = write_tiny_model(cls.folder / "tiny")
        cls.file = cls.folder / "prompts.txt"
        cls.prompts = ["hello", "a longer prompt of several words hello hello", "x", "hello hello"]
        cls.file.write_text("\n".join([cls.prompts[0], "", *cls.prompts[1:]]) + "\r\n")

    def lines(self, *args, **more):
        return [json.loads(line) for line in self.ok(*args, **more).out.splitlines()]

    def test_answers_are_those_of_single_runs(self):
        options = ("--max-tokens", "12", "--ignore-end", "--temperature", "0.5", "--seed", "7")
        for places in ("1", "3", "8"):
            answers = self.lines("run", self.model, "--batch", self.file, "--parallel", places, *options)
            self.assertEqual([a["line"] for a in answers], [1, 3, 4, 5])
            for i, (answer, prompt) in enumerate(zip(answers, self.prompts)):
                alone = self.json_of("run", self.model, prompt, *options[:-1], str(7 + i))
                for key in ("text", "ids", "stop_reason", "prompt_tokens", "seed"):
                    self.assertEqual(answer[key], alone[key], key)

    def test_raw_system_and_stdin(self):
        greedy = ("--max-tokens", "5", "--ignore-end", "--temperature", "0")
        raw = self.lines("run", self.model, "--batch", "-", "--raw", *greedy, stdin="hello\nx")
        self.assertEqual([a["prompt_tokens"] for a in raw], [1, 1])
        self.assertEqual(raw[0]["ids"], self.json_of("run", self.model, "hello", "--raw", *greedy)["ids"])
        system = self.lines("run", self.model, "--batch", "-", "--system", "x", *greedy, stdin="hello")
        self.assertEqual(system[0]["ids"], self.json_of("run", self.model, "hello", "--system", "x", *greedy)["ids"])
        said = self.ok("run", self.model, "--batch", self.file, "--stats", *greedy).err
        self.assertRegex(said, r"4 answers in .* 20 tokens at ")

    def test_refusals(self):
        run = ("run", self.model, "--batch", self.file)
        self.fails(2, *run, "hello", says="PROMPT")
        self.fails(2, *run, "--speculate", "ngram", says="--speculate")
        self.fails(2, *run, "--parallel", "0", says="parallel")
        self.fails(3, "run", self.model, "--batch", self.folder / "none.txt", says="none.txt")
        self.fails(3, "run", self.model, "--batch", "-", says="prompt", stdin="\n \n")
        self.fails(3, *run, "--context", "8", says="line 3")


class Graph(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = write_tiny_model(cls.folder / "tiny")

    def test_logits(self):
        npy(self.folder / "ids.npy", [[263, 36, 5, 9, 200]])
        answer = self.json_of("run", self.model, "--input", f"input_ids={self.folder}/ids.npy", "--output", self.folder / "out.npz")
        self.assertEqual(answer["outputs"], [{"name": "logits", "shape": [1, 5, 264]}])
        shape, values = read_npz(self.folder / "out.npz")["logits"]
        self.assertEqual(shape, [1, 5, 264])
        # Causal: the first three positions do not change with what follows.
        npy(self.folder / "prefix.npy", [[263, 36, 5]], "<i4")
        self.ok("run", self.model, "--input", f"input_ids={self.folder}/prefix.npy", "--output", self.folder / "prefix.npz")
        prefix = read_npz(self.folder / "prefix.npz")["logits"][1]
        self.assertLess(max(abs(a - b) for a, b in zip(prefix, values)), 1e-4)
        # Positions given by hand are those filled in.
        npy(self.folder / "positions.npy", [[0, 1, 2, 3, 4]])
        self.ok("run", self.model, "--input", f"input_ids={self.folder}/ids.npy", "--input", f"position_ids={self.folder}/positions.npy", "--output", self.folder / "same.npz")
        self.assertEqual(read_npz(self.folder / "same.npz")["logits"][1], values)

    def test_the_chat_says_what_the_graph_says(self):
        ids = [1, 263, 0, 2]  # <|user|>hello<|end|><|assistant|>
        npy(self.folder / "chat.npy", [ids])
        self.ok("run", self.model, "--input", f"input_ids={self.folder}/chat.npy", "--output", self.folder / "chat.npz")
        _, values = read_npz(self.folder / "chat.npz")["logits"]
        last = list(values[-264:])
        answer = self.json_of("run", self.model, "hello", "--temperature", "0", "--max-tokens", "1", "--ignore-end")
        self.assertEqual(answer["ids"], [last.index(max(last))])

    def test_wrong_inputs(self):
        ids = self.folder / "x.npy"
        out = ("--output", self.folder / "never.npz")
        npy(ids, [[1, 2, 3]])
        self.fails(2, "run", self.model, "--input", f"nonsense={ids}", *out, says="nonsense")
        self.fails(2, "run", self.model, "--input", f"position_ids={ids}", *out, says="input_ids")
        npy(ids, [[1, 99999]])
        self.fails(3, "run", self.model, "--input", f"input_ids={ids}", *out, says="99999")
        npy(ids, [1, 2, 3])
        self.fails(3, "run", self.model, "--input", f"input_ids={ids}", *out, says="shape")
        ids.write_bytes(b"\x93NUMPY\x01\x00\xff\xff")
        self.fails(3, "run", self.model, "--input", f"input_ids={ids}", *out, says="x.npy")
        self.assertFalse((self.folder / "never.npz").exists())

    def test_golden_llama(self):
        golden = SHARED / "golden" / "llama"
        if not golden.is_dir():
            print("skipped: no shared/golden, logits are not compared with the reference implementation")
            return
        import array
        data = support.read_safetensors(golden / "golden.safetensors")
        ids = list(array.array("i", data["input_ids"][2]))
        npy(self.folder / "golden.npy", [ids])
        self.ok("run", golden, "--input", f"input_ids={self.folder}/golden.npy", "--output", self.folder / "golden.npz")
        shape, values = read_npz(self.folder / "golden.npz")["logits"]
        expected = array.array("f", data["logits"][2])
        self.assertEqual(len(values), len(expected))
        tolerance = json.loads((golden / "golden.json").read_text())["tolerance"]
        worst = max(abs(a - b) for a, b in zip(values, expected))
        self.assertLess(worst, tolerance if isinstance(tolerance, float) else max(v for v in tolerance.values() if isinstance(v, float)))


class Terminal:
    """The program on a pseudo-terminal."""

    def __init__(self, *args):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm", HF_HUB_OFFLINE="1", LC_ALL="C.UTF-8")
            os.execv(support.HONE, [support.HONE, *map(str, args)])
        self.text = ""

    def expect(self, what, timeout=60):
        """Waits until `what` comes after what was expected before; returns the text up to it."""
        end = time.time() + timeout
        while what not in self.text:
            left = end - time.time()
            ready, _, _ = select.select([self.fd], [], [], max(0, left))
            if not ready:
                raise AssertionError(f"no {what!r} within {timeout} s in {self.text!r}")
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            if not data:
                raise AssertionError(f"ended without {what!r}: {self.text!r}")
            self.text += data.decode("utf-8", "replace")
        at = self.text.index(what) + len(what)
        before, self.text = self.text[:at], self.text[at:]
        return before

    def send(self, text):
        os.write(self.fd, text.encode())

    def wait(self, timeout=30):
        end = time.time() + timeout
        while time.time() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
            ready, _, _ = select.select([self.fd], [], [], 0.1)
            if ready:
                try:
                    os.read(self.fd, 65536)
                except OSError:
                    pass
        os.kill(self.pid, signal.SIGKILL)
        raise AssertionError("the program did not end")


class Chat(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = write_tiny_model(cls.folder / "tiny", context=8192)

    def start(self, *args):
        terminal = Terminal("run", self.model, "--temperature", "0", *args)
        terminal.expect("> ")
        return terminal

    def test_interrupt_stops_the_answer_not_the_program(self):
        t = self.start("--ignore-end", "--context", "8000")
        t.send("hello\r")
        t.expect("hello")
        time.sleep(0.5)
        t.send("\x03")
        t.expect("[stopped]", 20)
        t.expect("> ")
        t.send("/help\r")
        t.expect("/clear")
        t.expect("> ")
        t.send("half a line")
        t.expect("half a line")
        t.send("\x03")              # a typed line is dropped
        t.expect("> ")
        t.send("\x03")              # an empty one quits
        self.assertEqual(t.wait(), 0)

    def test_commands_history_and_end(self):
        t = self.start("--max-tokens", "3")
        t.send("/system Be kind.\r")
        t.expect("System prompt set.")
        t.send("hello\r")
        t.expect("hello")
        t.expect("> ")
        t.send("\x1b[A")            # arrow up brings the last message back
        if not self.has_line_editing():
            print("skipped: built without libedit, arrow keys are not tested")
        else:
            t.expect("hello")
            t.send("\r")
            t.expect("> ")
        t.send("/clear\r")
        t.expect("forgotten")
        t.send("/nonsense\r")
        t.expect("Unknown command")
        t.send("/exit\r")
        self.assertEqual(t.wait(), 0)

    def test_multi_line_and_end_of_input(self):
        t = self.start("--max-tokens", "3", "--stats")
        t.send("hello\\\r")
        t.expect("... ")
        t.send("hello\r")
        # <|user|>hello\nhello<|end|><|assistant|>
        t.expect("6 prompt tokens")
        t.expect("> ")
        t.send('"""\r')
        t.expect("... ")
        t.send("hello\r")
        t.expect("... ")
        t.send('hello"""\r')
        t.expect("prompt tokens")
        t.expect("> ")
        t.send("\x04")
        self.assertEqual(t.wait(), 0)

    @staticmethod
    def has_line_editing():
        run = subprocess.run(["ldd", support.HONE], capture_output=True, text=True)
        return "libedit" in run.stdout

    def test_json_needs_a_prompt(self):
        t = Terminal("run", self.model, "--json")
        t.expect("hone: error: --json needs a prompt")
        self.assertEqual(t.wait(), 2)


class Measures(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = write_tiny_model(cls.folder / "tiny")
        cls.text = cls.folder / "text.txt"
        cls.text.write_text("".join(f"line {i}: the quick brown fox number {i * i} jumps over {i % 7} lazy dogs.\n" for i in range(300)))
        cls.small = cls.folder / "q4.gguf"
        assert hone("quantize", cls.model, "Q4_0", cls.small).returncode == 0

    def test_a_model_equals_itself(self):
        answer = self.json_of("evaluate", self.model, "--reference", self.model, "--text", self.text, "--windows", "3", "--window", "64")
        self.assertEqual(answer["windows"], 3)
        self.assertLess(abs(answer["kl_divergence"]["mean"]["value"]), 1e-6)
        self.assertEqual(answer["same_top1"]["value"], 1)

    def test_gates(self):
        args = ("evaluate", self.small, "--reference", self.model, "--text", self.text, "--windows", "3", "--window", "64")
        answer = self.json_of(*args)
        kl = answer["kl_divergence"]["mean"]["value"]
        self.assertGreater(kl, 0)
        self.assertTrue(answer["goal_met"])
        self.ok(*args, "--max-kld", kl * 1.1)
        run = hone(*args, "--max-kld", kl * 0.9, "--json")
        self.assertEqual(run.returncode, 1)
        self.assertFalse(json.loads(run.out)["goal_met"])
        self.assertIn("KL divergence", run.err)
        self.assertEqual(hone(*args, "--min-top1", "1").returncode, 1)
        self.fails(2, "evaluate", self.small, "--text", self.text, "--max-kld", "1", says="--reference")

    def test_bench(self):
        answer = self.json_of("bench", self.small, "--prefill", "32", "--decode", "8", "--repetitions", "2")
        text = json.dumps(answer)
        for word in ("prefill", "decode", "load", "peak", "bandwidth"):
            self.assertIn(word, text)
        self.assertIn("tokens/s", self.ok("bench", self.small, "--prefill", "32", "--decode", "8", "--repetitions", "2").out)


class Page(html.parser.HTMLParser):
    """What a page refers to and whether its tags close."""
    VOID = {"meta", "br", "hr", "img", "input", "link", "line", "circle", "polyline", "path", "rect"}

    def __init__(self):
        super().__init__()
        self.stack, self.links, self.titles, self.faults = [], [], 0, []

    def handle_starttag(self, tag, attrs):
        self.links += [v for k, v in attrs if k in ("src", "href") and v]
        self.titles += tag == "title"
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.links += [v for k, v in attrs if k in ("src", "href") and v]

    def handle_endtag(self, tag):
        if tag in self.VOID:
            return
        if not self.stack or self.stack.pop() != tag:
            self.faults.append(tag)


class Optimize(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = write_tiny_model(cls.folder / "tiny")
        cls.text = cls.folder / "text.txt"
        cls.text.write_text("".join(f"line {i}: the quick brown fox number {i * i} jumps over {i % 7} lazy dogs.\n" for i in range(1200)))

    def test_the_main_job(self):
        out = self.folder / "out.gguf"
        run = self.ok("optimize", self.model, "--max-bpw", "6", "-o", out, "--calibration", self.text, "--swap-trials", "2")
        for word in ("size", "bits per weight", "KL divergence, mean", "KL divergence, 99.9 %", "same top-1", "perplexity", "prefill tokens/s", "decode tokens/s", "peak memory"):
            self.assertIn(word, run.out)
        self.assertEqual([l for l in run.err.splitlines() if "\x1b" in l or "\r" in l], [])  # plain lines in a pipe
        report = json.loads((self.folder / "out.report.json").read_text())
        self.assertIn("sha256", json.dumps(report))
        page = Page()
        source = (self.folder / "out.report.html").read_text()
        page.feed(source)
        self.assertEqual((page.faults, page.stack, page.links), ([], [], []))
        self.assertGreater(page.titles, 2)  # the page's and the points'
        self.assertNotRegex(re.sub(r"Content-Security-Policy[^>]*", "", source), r"https?://")
        # The recipe makes the same bytes again.
        self.ok("optimize", self.model, "--recipe", self.folder / "out.recipe.yaml", "-o", self.folder / "again.gguf", "--calibration", self.text, "--no-speed", "--quiet")
        self.assertEqual((self.folder / "again.gguf").read_bytes(), out.read_bytes())
        answer = self.json_of("inspect", out)
        self.assertLessEqual(answer["bits_per_weight"], 6.001)


main()
