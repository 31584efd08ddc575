#!/usr/bin/env python3
"""SmolLM2 through GGUF, MLX, Hugging Face and back: the bytes of its tensors where a container can hold them, its values
where it cannot, and the same text at temperature 0 at every station.

  bridges_test.py HONE_BINARY [MODEL.gguf]     MODEL defaults to HONE_MODEL; skipped (77) without one
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

PROMPT = "Tell me about the moon in a few sentences."


def check(condition, message):
    if not condition:
        sys.exit(f"FAILED: {message}")
    print(f"ok: {message}", flush=True)


class Tool:
    def __init__(self, binary):
        self.binary = binary

    def run(self, *arguments, **settings):
        done = subprocess.run([self.binary, *map(str, arguments)], capture_output=True, text=True, env={**os.environ, **settings})
        if done.returncode != 0:
            sys.exit(f"FAILED: hone {' '.join(map(str, arguments))}: {done.stderr}")
        return done.stdout

    def convert(self, source, target, *options):
        return json.loads(self.run("convert", source, target, *options, "--json"))

    def text(self, model, **settings):
        return self.run("run", model, PROMPT, "--temperature", "0", "--max-tokens", "48", "--quiet", **settings)


def tensor_section(path):
    """Names, types and bytes of a GGUF's tensors, by the package gguf."""
    import gguf
    return {t.name: (t.tensor_type, t.data.tobytes()) for t in gguf.GGUFReader(path).tensors}


def main():
    hone = Tool(sys.argv[1])
    model = sys.argv[2] if len(sys.argv) > 2 else os.environ.get("HONE_MODEL")
    if not model:
        print("skipped: no model; set HONE_MODEL to a GGUF of SmolLM2")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        spoken = hone.text(model)
        check(len(spoken.split()) > 10, f"the model speaks: {spoken.strip()[:60]!r}...")

        check(hone.convert(model, work / "mlx", "--to", "mlx")["lossless"], "GGUF to MLX is lossless")
        check(hone.text(work / "mlx") == spoken, "the MLX directory says the same")
        check(hone.convert(work / "mlx", work / "back.gguf")["lossless"], "MLX to GGUF is lossless")
        check(tensor_section(work / "back.gguf") == tensor_section(model), "every tensor has the same type and bytes again")
        check(hone.text(work / "back.gguf") == spoken, "the GGUF from MLX says the same")

        decoded = hone.convert(work / "mlx", work / "plain", "--dequantize", "F32")
        check(not decoded["lossless"] and decoded["errors"] == [], "MLX to plain Hugging Face changes the form and no value")
        # Prompts meet 4-bit weights as 8-bit codes and F32 weights as they are, so the files are compared in F32.
        exact = {"HONE_ACTIVATIONS": "f32"}
        spoken = hone.text(model, **exact)
        check(hone.text(work / "plain", **exact) == spoken, "the Hugging Face directory says the same")
        check(hone.convert(work / "plain", work / "plain-mlx")["lossless"], "Hugging Face to MLX is lossless")
        check(hone.convert(work / "plain-mlx", work / "plain.gguf")["lossless"], "and on to GGUF")
        check(hone.text(work / "plain.gguf", **exact) == spoken, "the GGUF at the end says the same")


main()
