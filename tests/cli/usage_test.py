#!/usr/bin/env python3
"""Help, version, usage errors, completion scripts: what the program says about itself."""
import json
import shutil
import subprocess

from support import CliTest, VERBS, hone, main


class Usage(CliTest):
    def test_version(self):
        self.assertRegex(self.ok("--version").out, r"^hone \d+\.\d+\.\d+\n$")

    def test_help_lists_every_verb(self):
        text = self.ok("--help").out
        for verb in VERBS:
            self.assertIn(f"  {verb} ", text)

    def test_every_verb_has_help_with_an_example_and_json(self):
        for verb in VERBS:
            with self.subTest(verb):
                text = self.ok(verb, "--help").out
                self.assertIn("Examples:", text)
                self.assertIn("hone " + verb, text)
                self.assertIn("--json", text)

    def test_usage_errors_are_one_line_and_code_2(self):
        for args in (["nonsense"], ["run"], ["inspect", "x", "--nonsense"], ["evaluate", "x"], ["optimize", "x", "-o", "y.gguf"],
                     ["optimize", "x", "-o", "y.gguf", "--max-size", "many"], ["bench", "x", "--repetitions", "0"], ["pull", "not a name"],
                     ["completion", "tcsh"], ["template"], ["run", "x", "--input", "a=b.npy"]):
            with self.subTest(args):
                self.fails(2, *args)

    def test_no_verb_prints_help_and_code_2(self):
        run = hone()
        self.assertEqual(run.returncode, 2)
        self.assertIn("optimize", run.out)

    def test_full_stdout_is_a_resource_error(self):
        with open("/dev/full", "wb") as full:
            run = subprocess.run([__import__("support").HONE, "--help"], stdout=full, stderr=subprocess.PIPE)
        self.assertEqual(run.returncode, 4)
        self.assertIn(b"hone: error: cannot write to standard output", run.stderr)


class Completion(CliTest):
    def complete(self, words):
        script = self.ok("completion", "bash").out
        last = len(words) - 1
        quoted = " ".join(f"'{w}'" for w in words)
        program = script + f"\nCOMP_WORDS=({quoted}); COMP_CWORD={last}; _hone; printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
        run = subprocess.run(["bash", "-c", program], capture_output=True, text=True)
        return run.stdout.split()

    def test_bash_completes_verbs_and_options(self):
        self.assertEqual(self.complete(["hone", "op"]), ["optimize"])
        self.assertEqual(set(VERBS) - set(self.complete(["hone", ""])), set())
        options = self.complete(["hone", "optimize", "--max"])
        self.assertEqual(set(options), {"--max-size", "--max-bpw", "--max-kld"})

    def test_shells_accept_their_scripts(self):
        for shell in ("bash", "zsh", "fish"):
            script = self.ok("completion", shell).out
            for verb in VERBS:
                self.assertIn(verb, script)
            if not shutil.which(shell):
                print(f"skipped: {shell} is not installed, its script is not parsed")
                continue
            run = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True)
            self.assertEqual((run.returncode, run.stderr), (0, ""), shell)

    def test_manual_page_is_roff_without_warnings(self):
        page = self.ok("completion", "man").out
        self.assertIn("hone quantize", page)
        if not shutil.which("groff"):
            print("skipped: groff is not installed, the manual page is not rendered")
            return
        run = subprocess.run(["groff", "-man", "-Tutf8", "-ww"], input=page, capture_output=True, text=True)
        self.assertEqual((run.returncode, run.stderr), (0, ""))

    def test_json(self):
        self.assertIn("_hone", json.loads(self.ok("completion", "bash", "--json").out)["script"])


main()
