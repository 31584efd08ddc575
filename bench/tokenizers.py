#!/usr/bin/env python3
"""Encoding speed of hone beside the packages `tokenizers` and `sentencepiece`, one thread each, in alternation.

  bench/tokenizers.py TEXT... [--tokenizer FILE.json ...] [--bench PATH] [--rounds 3] [--out FILE.md]

TEXT are files of about 1 MB (English prose first: the tokenizers are trained on it). Tokenizers of each kind are made with
the package `tokenizers`; --tokenizer adds published ones. A text is encoded whole, and line by line by `tokenizers`, whose
better figure counts. PATH is hone's text_bench (a build with -DHONE_BUILD_BENCHMARKS=ON). Times are the processor's, so that other load counts less.
Needs the packages tokenizers and sentencepiece.
"""
import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.pop(0)  # this folder, whose tokenizers.py is this file
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
import sentencepiece  # noqa: E402
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers  # noqa: E402

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SIZE = 16000


def byte_level(split):
    t = Tokenizer(models.BPE())
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split is None)
    t.pre_tokenizer = last if split is None else pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(split), "isolated"), last])
    t.decoder = decoders.ByteLevel()
    return t, trainers.BpeTrainer(vocab_size=SIZE, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)


def sentencepiece_bpe():
    t = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    return t, trainers.BpeTrainer(vocab_size=SIZE, special_tokens=special, show_progress=False)


def unigram():
    t = Tokenizer(models.Unigram())
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    return t, trainers.UnigramTrainer(vocab_size=8000, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False)


def word_piece():
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer()
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return t, trainers.WordPieceTrainer(vocab_size=SIZE, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False)


KINDS = {"GPT-2 BPE": lambda: byte_level(None), "Llama 3 BPE": lambda: byte_level(LLAMA3), "SentencePiece BPE": sentencepiece_bpe,
         "Unigram": unigram, "WordPiece": word_piece}


def make_tokenizers(lines, folder):
    for name, make in KINDS.items():
        t, trainer = make()
        t.train_from_iterator(lines, trainer)
        path = folder / f"{name}.json"
        t.save(str(path))
        yield name, path


# A sentencepiece model of the same text for the package's own speed: (name, processor).
def make_sentencepiece(text, folder):
    for kind in ("bpe", "unigram"):
        prefix = str(folder / f"sp-{kind}")
        sentencepiece.SentencePieceTrainer.train(input=str(text), model_prefix=prefix, vocab_size=8000, model_type=kind,
                                                 byte_fallback=True, minloglevel=2, num_threads=1, max_sentence_length=100000,
                                                 hard_vocab_limit=kind != "unigram")
        yield f"tokenizer.model, {kind}", pathlib.Path(prefix + ".model")


def mix(path, folder):
    """Words of a multilingual text in a random order, up to 1 MB."""
    rng = random.Random(1)
    words = path.read_text(encoding="utf-8").split()
    out, size = [], 0
    while size < 1_000_000:
        out.append(rng.choice(words) + rng.choice(["", "", " ", " ", "\n"]) + rng.choice(words))
        size += len(out[-1].encode()) + 1
    target = folder / path.name
    target.write_text(" ".join(out), encoding="utf-8")
    return target


def python_speed(encode, text):
    """MB/s of encode over the whole text and over its lines: the better one."""
    data, best = len(text.encode()), 0.0
    for parts in ([text], text.splitlines(keepends=True)):
        start = time.process_time()
        for part in parts:
            encode(part)
        best = max(best, data / 1e6 / (time.process_time() - start))
    return best


def hone_speed(bench, path, text):
    env = dict(os.environ, HONE_BENCH_TOKENIZERS=str(path), HONE_BENCH_TEXTS=str(text))
    out = subprocess.run([bench, "--benchmark_format=json", "--benchmark_min_time=0.5", "--benchmark_filter=^/"], check=True, env=env,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return json.loads(out)["benchmarks"][0]["bytes_per_second"] / 1e6


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("texts", nargs="+", type=pathlib.Path)
    p.add_argument("--tokenizer", action="append", default=[], type=pathlib.Path)
    p.add_argument("--bench", default="text_bench")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--out", type=pathlib.Path)
    a = p.parse_args()
    lines = ["| tokenizer | text | hone MB/s | package MB/s | ratio (min to max) |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        texts = [mix(t, folder) if t.stat().st_size < 300_000 else t for t in a.texts]
        rows = [(f"{t.parent.name}/{t.name}", t) for t in a.tokenizer]
        rows += make_tokenizers(texts[0].read_text(encoding="utf-8").splitlines(), folder)
        rows += make_sentencepiece(texts[0], folder)
        for kind, path in rows:
            if path.suffix == ".json":
                tokenizer = Tokenizer.from_file(str(path))
                encode = lambda s: tokenizer.encode_batch_fast([s], add_special_tokens=False)  # noqa: E731
            else:
                processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
                encode = processor.encode
            for text_path in texts:
                text = text_path.read_text(encoding="utf-8", errors="replace")
                ours, theirs = [], []
                for _ in range(a.rounds):
                    ours.append(hone_speed(a.bench, path, text_path))
                    theirs.append(python_speed(encode, text))
                ratios = [o / t for o, t in zip(ours, theirs)]
                lines.append(f"| {kind} | {text_path.stem} | {statistics.median(ours):.1f} | {statistics.median(theirs):.1f} | "
                             f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}) |")
                print(lines[-1], flush=True)
    if a.out:
        a.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
