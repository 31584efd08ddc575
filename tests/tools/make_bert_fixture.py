#!/usr/bin/env python3
"""Ids that the package tokenizers gives for ../shared/data/vocabs/text.txt, line by line, with the vocabulary of
ggml-vocab-bert-bge.gguf: tests/data/text/bert_bge.json. llama.cpp drops more marks than BERT does, so its own ids are
no reference for Indic scripts and Korean. Needs the packages tokenizers and gguf, and the program xz."""
import json
import pathlib
import subprocess
import tempfile

from gguf import GGUFReader
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data" / "vocabs"


def main():
    with tempfile.NamedTemporaryFile(suffix=".gguf") as f:
        f.write(subprocess.run(["xz", "-dc", str(DATA / "ggml-vocab-bert-bge.gguf.xz")], check=True, stdout=subprocess.PIPE).stdout)
        f.flush()
        tokens = GGUFReader(f.name).fields["tokenizer.ggml.tokens"].contents()
    def piece(t):
        if t.startswith("\u2581"):
            return t[1:]
        return t if t.startswith("[") and t.endswith("]") else "##" + t
    vocab = {}
    for i, t in enumerate(tokens):
        vocab.setdefault(piece(t), i)
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    lines = (DATA / "text.txt").read_bytes().decode("utf-8").split("\n")
    ids = [" ".join(map(str, tokenizer.encode(line).ids)) for line in lines]
    (ROOT / "tests/data/text/bert_bge.json").write_text(json.dumps(ids, indent=0) + "\n")


if __name__ == "__main__":
    main()
