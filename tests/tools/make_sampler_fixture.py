#!/usr/bin/env python3
"""Writes tests/data/generate/samplers.json: the distribution that llama.cpp's sampler chain leaves for random logits,
through the C API that the PyPI package xllamacpp exports. Usage: make_sampler_fixture.py OUT"""
import ctypes as c
import glob
import json
import os
import sys

import numpy as np
import xllamacpp


class Token(c.Structure):
    _fields_ = [("id", c.c_int32), ("logit", c.c_float), ("p", c.c_float)]


class Tokens(c.Structure):
    _fields_ = [("data", c.POINTER(Token)), ("size", c.c_size_t), ("selected", c.c_int64), ("sorted", c.c_bool)]


lib = c.CDLL(glob.glob(os.path.join(os.path.dirname(xllamacpp.__file__), "xllamacpp*.so"))[0])


def make(name, types, *args):
    f = getattr(lib, "llama_sampler_init_" + name)
    f.restype, f.argtypes = c.c_void_p, types
    return f(*args)


lib.llama_sampler_apply.argtypes = [c.c_void_p, c.POINTER(Tokens)]
lib.llama_sampler_accept.argtypes = [c.c_void_p, c.c_int32]


def distribution(logits, o, history):
    chain = []
    if (o["repetition_penalty"], o["presence_penalty"], o["frequency_penalty"]) != (1, 0, 0):
        window = o["penalty_window"] if o["penalty_window"] >= 0 else len(history)
        s = make("penalties", [c.c_int32, c.c_int32, c.c_float, c.c_float, c.c_float], len(logits), window,
                 o["repetition_penalty"], o["frequency_penalty"], o["presence_penalty"])
        for token in history:
            lib.llama_sampler_accept(s, token)
        chain.append(s)
    if o["top_k"]:
        chain.append(make("top_k", [c.c_int32], o["top_k"]))
    if o["typical_p"] < 1:
        chain.append(make("typical", [c.c_float, c.c_size_t], o["typical_p"], 1))
    if o["top_p"] < 1:
        chain.append(make("top_p", [c.c_float, c.c_size_t], o["top_p"], 1))
    if o["min_p"] > 0:
        chain.append(make("min_p", [c.c_float, c.c_size_t], o["min_p"], 1))
    chain.append(make("temp", [c.c_float], o["temperature"]))
    data = (Token * len(logits))(*[Token(i, float(x), 0.0) for i, x in enumerate(logits)])
    tokens = Tokens(data, len(logits), -1, False)
    for s in chain:
        lib.llama_sampler_apply(s, c.byref(tokens))
    left = {tokens.data[i].id: tokens.data[i].logit for i in range(tokens.size)}
    top = max(left.values())
    weights = {i: float(np.exp(np.float64(x) - top)) for i, x in left.items()}
    total = sum(weights.values())
    return {str(i): round(w / total, 7) for i, w in sorted(weights.items())}


OFF = dict(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, typical_p=1.0, repetition_penalty=1.0, presence_penalty=0.0,
           frequency_penalty=0.0, penalty_window=64)
CASES = [{}, {"temperature": 0.5}, {"top_k": 7}, {"top_p": 0.8}, {"top_p": 0.05}, {"min_p": 0.1}, {"typical_p": 0.4},
         {"typical_p": 0.9, "top_k": 20}, {"repetition_penalty": 1.3}, {"presence_penalty": 0.7, "frequency_penalty": 0.2},
         {"frequency_penalty": -0.3, "penalty_window": 5}, {"repetition_penalty": 1.2, "penalty_window": -1, "top_k": 12},
         {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05},
         {"temperature": 1.5, "top_k": 30, "top_p": 0.9, "min_p": 0.02, "typical_p": 0.8, "repetition_penalty": 1.1}]


def main():
    rng = np.random.default_rng(7)
    cases = []
    for change in CASES:
        logits = [round(float(x), 4) for x in rng.normal(0, 3, 96)]
        history = [int(x) for x in rng.integers(0, 96, 40)] + [int(np.argmax(logits))]
        options = OFF | change
        cases.append({"options": options, "logits": logits, "history": history, "expected": distribution(logits, options, history)})
    with open(sys.argv[1], "w") as f:
        json.dump({"source": f"llama.cpp through xllamacpp {getattr(xllamacpp, '__version__', '')}", "cases": cases}, f, separators=(",", ":"))
        f.write("\n")


main()
