#!/usr/bin/env python3
"""Makes the seed corpora: valid files from tests/data/formats, small tokenizers and templates, and a few
damaged copies of each (fixed seed, so that the same files come out again)."""
import base64
import json
import os
import random
import shutil
import struct

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


# Small GGUF and safetensors files, written here: the seeds below need no model.
def safetensors_file(tensors):
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + 4 * len(values)]}
        data += struct.pack(f"<{len(values)}f", *values)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def gguf_file(keys, tensors):
    string = lambda s: struct.pack("<Q", len(s)) + s.encode()
    out = b"GGUF" + struct.pack("<Iqq", 3, len(tensors), len(keys))
    for key, value in keys.items():
        out += string(key)
        if isinstance(value, str):
            out += struct.pack("<I", 8) + string(value)
        else:
            out += struct.pack("<If", 6, value) if isinstance(value, float) else struct.pack("<II", 4, value)
    data = b""
    for name, (shape, values) in tensors.items():
        out += string(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}q", *reversed(shape)) + struct.pack("<IQ", 0, len(data))
        data += struct.pack(f"<{len(values)}f", *values)
        data += b"\0" * (-len(data) % 32)
    return out + b"\0" * (-len(out) % 32) + data


# Adapters of the model in fuzz_adapter.cpp (vocabulary 5, hidden 4, one layer): configuration, NUL, weights; GGUF files;
# importance matrices.
def adapters():
    def values(n):
        return [rng.uniform(-1, 1) for _ in range(n)]

    def pairs(modules, a, b):
        tensors = {}
        for name, (out, into) in modules.items():
            tensors[name + a] = ([2, into], values(2 * into))
            tensors[name + b] = ([out, 2], values(2 * out))
        return tensors
    layer = "base_model.model.model.layers.0."
    linear = pairs({layer + "self_attn.q_proj": (4, 4), layer + "self_attn.v_proj": (2, 4), layer + "mlp.down_proj": (4, 6)}, ".lora_A.weight", ".lora_B.weight")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj", "down_proj"], "bias": "none", "use_dora": False}
    peft = {"plain": (config, linear),
            "rslora": ({**config, "use_rslora": True, "alpha_pattern": {"q_proj": 3}, "rank_pattern": {"v_proj": 2}}, linear),
            "dora": ({**config, "use_dora": True}, {**{k: v for k, v in linear.items() if "q_proj" in k}, layer + "self_attn.q_proj.lora_magnitude_vector": ([4], values(4))}),
            "embedding": (config, {"base_model.model.model.embed_tokens.lora_embedding_A": ([2, 5], values(10)),
                                   "base_model.model.model.embed_tokens.lora_embedding_B": ([4, 2], values(8)),
                                   **pairs({"base_model.model.lm_head": (5, 4)}, ".lora_A.weight", ".lora_B.weight")}),
            "saved": ({**config, "modules_to_save": ["embed_tokens", "lm_head"]},
                      {"base_model.model.model.embed_tokens.weight": ([5, 4], values(20)), "base_model.model.lm_head.weight": ([5, 4], values(20)),
                       "base_model.model.model.norm.weight": ([4], values(4))})}
    for name, (options, tensors) in peft.items():
        seed("adapter", "peft-" + name, json.dumps(options, separators=(",", ":")).encode() + b"\0" + safetensors_file(tensors))
    for kind in ("lora", "dora", "full"):
        tensors = {"model.layers.0.self_attn.q_proj.lora_a": ([4, 2], values(8)), "model.layers.0.self_attn.q_proj.lora_b": ([2, 4], values(8))}
        if kind == "dora":
            tensors["model.layers.0.self_attn.q_proj.m"] = ([4], values(4))
        if kind == "full":
            tensors = {"model.layers.0.self_attn.q_proj.weight": ([4, 4], values(16)), "model.layers.0.input_layernorm.weight": ([4], values(4))}
        options = {"fine_tune_type": kind, "num_layers": 1, "lora_parameters": {"rank": 2, "scale": 20.0, "dropout": 0.0}}
        seed("adapter", "mlx-" + kind, json.dumps(options, separators=(",", ":")).encode() + b"\0" + safetensors_file(tensors))
    keys = {"general.type": "adapter", "general.architecture": "llama", "adapter.type": "lora", "adapter.lora.alpha": 4.0}
    seed("adapter", "lora.gguf", gguf_file(keys, {**pairs({"blk.0.attn_q.weight": (4, 4), "blk.0.ffn_up.weight": (6, 4)}, ".lora_a", ".lora_b"),
                                                  "token_embd.weight.lora_a": ([5, 2], values(10)), "token_embd.weight.lora_b": ([4, 2], values(8))}))
    seed("adapter", "control.gguf", gguf_file({"general.architecture": "controlvector", "controlvector.model_hint": "llama", "controlvector.layer_count": 2},
                                              {"direction.1": ([4], values(4)), "direction.2": ([4], values(4))}))
    squares = [abs(v) for v in values(4)]
    seed("adapter", "imatrix.gguf", gguf_file({"general.type": "imatrix", "imatrix.chunk_count": 3, "imatrix.chunk_size": 512},
                                              {"blk.0.attn_q.weight.in_sum2": ([1, 4], squares), "blk.0.attn_q.weight.counts": ([1, 1], [2.0])}))
    entry = lambda name, numbers: struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", 3, len(numbers)) + struct.pack(f"<{len(numbers)}f", *numbers)
    seed("adapter", "imatrix.dat", struct.pack("<i", 2) + entry("blk.0.attn_q.weight", squares) + entry("blk.0.ffn_down.weight", squares * 2)
         + struct.pack("<ii", 3, 8) + b"text.txt")


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

def sentencepieces():
    with open(os.path.join(DATA, "..", "text", "sentencepiece.json"), encoding="utf-8") as f:
        for model in json.load(f)["models"]:
            seed("sentencepiece", model["name"] + ".model", base64.b64decode(model["model"]), 1)


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
    adapters()
    sentencepieces()
