#!/usr/bin/env python3
"""Makes the seed corpora: valid files from tests/data/formats, small tokenizers and templates, and a few
damaged copies of each (fixed seed, so that the same files come out again)."""
import json
import os
import random
import shutil

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "..", "tests", "data", "formats")
rng = random.Random(7)


def write(target, name, data):
    os.makedirs(os.path.join(HERE, "corpus", target), exist_ok=True)
    with open(os.path.join(HERE, "corpus", target, name), "wb") as f:
        f.write(data)


def seed(target, name, data, mutants=2):
    write(target, name, data)
    for i in range(mutants):
        raw = bytearray(data)
        for _ in range(1 + i):
            at = rng.randrange(len(raw))
            raw[at:at + rng.choice((0, 1, 4))] = bytes(rng.choice((0, 1, 0x7F, 0x80, 0xFF)) for _ in range(rng.choice((1, 2, 8))))
        write(target, f"{name}-damaged{i}", bytes(raw))


def copy(target, folder, names):
    for name in names:
        with open(os.path.join(DATA, folder, name), "rb") as f:
            seed(target, name.replace("/", "-"), f.read())


# The 256 symbols of byte-level BPE, as GPT-2 spells bytes.
def byte_symbols():
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(b) if b in keep else chr(next(spare)) for b in range(256)]


def tokenizers():
    symbols = byte_symbols()
    merges = [("H", "e"), ("l", "l"), ("He", "ll"), ("Hell", "o"), ("\u0120", "w")]
    vocab = {s: i for i, s in enumerate(symbols + [a + b for a, b in merges])}
    special = {"id": len(vocab), "content": "<|im_start|>", "single_word": False, "lstrip": False, "rstrip": False,
               "normalized": False, "special": True}
    byte_level = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [special], "normalizer": None,
                  "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                      {"type": "Digits", "individual_digits": True},
                      {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]},
                  "post_processor": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
                  "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
                  "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                            "vocab": vocab, "merges": [" ".join(m) for m in merges]}}
    split = json.loads(json.dumps(byte_level))
    split["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": r"\p{N}{1,3}|[^\r\n\p{L}\p{N}]?\p{L}+|\s+(?!\S)|\s+"}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]}
    split["normalizer"] = {"type": "NFC"}
    split["model"]["merges"] = [list(m) for m in merges]
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + ["\u2581", "H", "e", "l", "o", "\u2581H", "ll"]
    fallback = {"version": "1.0", "added_tokens": [{**special, "id": i, "content": c} for i, c in enumerate(pieces[:3])],
                "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"},
                                                                   {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
                "pre_tokenizer": None,
                "post_processor": {"type": "TemplateProcessing",
                                   "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                                   "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                                   "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
                "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
                                                             {"type": "ByteFallback"}, {"type": "Fuse"},
                                                             {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
                "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True,
                          "vocab": {p: i for i, p in enumerate(pieces)}, "merges": ["\u2581 H", "l l"]}}
    unigram = {**fallback, "normalizer": {"type": "NFKC"}, "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
               "decoder": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
               "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": False, "vocab": [[p, -float(i % 9)] for i, p in enumerate(pieces[:3] + pieces[-7:])]}}
    word_piece = {"version": "1.0", "added_tokens": [], "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                                                                     "strip_accents": None, "lowercase": True},
                  "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": None, "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
                  "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                            "vocab": {t: i for i, t in enumerate(["[UNK]", "hello", "he", "##llo", ",", "!", "##s"])}}}
    for name, document in (("byte_level", byte_level), ("split_regex", split), ("byte_fallback", fallback), ("unigram", unigram), ("word_piece", word_piece)):
        seed("tokenizer_json", name + ".json", json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(), 3)
    seed("tokenizer_json", "empty.json", b"{}", 0)


# Checkpoints of quantizing tools as one file: config.json, NUL, an old configuration file or nothing, NUL, the weights.
def quantized(names):
    for name in names:
        folder = os.path.join(DATA, "quantized", name)
        parts = []
        for file in ("config.json", "quantize_config.json", "model.safetensors"):
            path = os.path.join(folder, file)
            parts.append(open(path, "rb").read() if os.path.exists(path) else b"")
        seed("hf_config", name, b"\0".join(parts), 1)


TEMPLATES = {
    "turns": "{% for m in messages %}{{ '<|start|>' + m['role'] + '\\n' + (m.content or '') + '<|end|>\\n' }}{% endfor %}"
             "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}",
    "macro": "{%- macro show(v, depth=0) -%}{%- if v is mapping -%}{%- for k, w in v|items -%}{{ k }}={{ show(w, depth + 1) }};{%- endfor -%}"
             "{%- else -%}{{ v|tojson }}{%- endif -%}{%- endmacro -%}{{ show(tools[0]) }}",
    "namespace": "{%- set ns = namespace(last=none, n=0) -%}{%- for m in messages[::-1] -%}{%- if m.role == 'user' and ns.last is none -%}"
                 "{%- set ns.last = loop.index0 -%}{%- endif -%}{%- set ns.n = ns.n + 1 -%}{%- endfor -%}{{ ns.last }} {{ ns.n }} {{ strftime_now('%d %b %Y') }}",
    "filters": "{{ messages|map(attribute='role')|join(', ')|upper }} {{ ' a b '.strip().split(' ')|length }} {{ bos_token|replace('s','t') }}"
               " {{ [3,1,2]|sort|first }} {{ 'x' if empty else 'y' }} {{ n // 2 ** 2 % 5 - x }} {{ tools|selectattr('type','equalto','function')|list|count }}",
    "raise": "{% if messages|length > 99 %}{{ raise_exception('too many') }}{% elif not (1 in [1,2]) %}no{% else %}{{ messages[-1]['tool_calls'][0].function.arguments.x[1:] }}{% endif %}{# note #}",
    "control": "{% for i in range(10) %}{% if i is odd %}{% continue %}{% endif %}{% if i > 6 %}{% break %}{% endif %}{{ i }}{{ ',' if not loop.last }}{% endfor %}{% generation %}g{% endgeneration %}",
}

if __name__ == "__main__":
    shutil.rmtree(os.path.join(HERE, "corpus"), ignore_errors=True)
    copy("gguf", "gguf", ["all_types.gguf", "align64.gguf", "empty.gguf", "version2.gguf", "big_endian.gguf", "split-00001-of-00003.gguf"])
    copy("safetensors", "safetensors", ["all_dtypes.safetensors", "unaligned.safetensors", "single/model.safetensors"])
    copy("npy", "npy", ["f32.npy", "i64_fortran.npy", "bool.npy", "f16_scalar.npy", "u8_empty.npy", "big_endian.npy", "version2.npy"])
    tokenizers()
    for name, text in TEMPLATES.items():
        seed("chat_template", name + ".jinja", text.encode(), 2)
    quantized(["mlx-affine-3", "mlx-mxfp4", "mlx-nvfp4", "mlx-mixed", "gptq-3-zeros", "gptq-act-order", "gptq-odd", "gptq-old-file", "awq", "ct-pack-4-zeros",
               "ct-pack-5-words", "ct-pack-act-order", "ct-int8-asymmetric", "ct-nvfp4", "ct-mxfp8", "fp8-row", "modelopt-nvfp4", "bnb-nf4-double", "bnb-int8", "bitnet"])
