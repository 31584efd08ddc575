"""Writes ops.json: small inputs and the outputs that NumPy gives, following the ONNX operator texts
(opset 24). Run with any Python that has NumPy: python make_ops.py"""
import json
import pathlib

import numpy as np

rng = np.random.default_rng(7)
cases = []


def tensor(x, constant=False):
    kind = {"f": "F32", "i": "I64"}[x.dtype.kind]
    return {"type": kind, "shape": list(x.shape), "data": [float(f"{v:.9g}") if kind == "F32" else int(v) for v in x.ravel()],
            "constant": constant}


def case(op, inputs, outputs, constants=(), **attributes):
    cases.append({"op": op, "attributes": attributes,
                  "inputs": [None if x is None else tensor(x, i in constants) for i, x in enumerate(inputs)],
                  "outputs": [tensor(np.asarray(y)) for y in outputs]})


def f(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def i64(*values):
    return np.array(values, dtype=np.int64)


for op, fn in [("Add", np.add), ("Sub", np.subtract), ("Mul", np.multiply), ("Div", np.divide)]:
    for a, b in [((2, 3, 5), (2, 3, 5)), ((2, 3, 5), (5,)), ((2, 3, 5), (1,)), ((3, 1), (2, 3, 5)), ((2, 1, 5), (3, 1)), ((4,), (4,))]:
        x, y = f(*a), f(*b)
        case(op, [x, y], [fn(x, y)])
x, y = np.abs(f(2, 4)) + np.float32(0.1), f(4)
case("Pow", [x, y], [np.power(x, y)])
x = f(3, 7)
sigmoid = lambda v: 1 / (1 + np.exp(-v.astype(np.float64)))
case("Sigmoid", [x], [sigmoid(x).astype(np.float32)])
case("Swish", [x], [(x * sigmoid(x)).astype(np.float32)])
case("Swish", [x], [(x * sigmoid(1.5 * x)).astype(np.float32)], alpha=1.5)
case("Tanh", [x], [np.tanh(x)])
case("Relu", [x], [np.maximum(x, 0)])
case("Exp", [x], [np.exp(x)])
case("Sqrt", [np.abs(x)], [np.sqrt(np.abs(x))])
inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x.astype(np.float64) ** 3)
case("Gelu", [x], [(0.5 * x * (1 + np.tanh(inner))).astype(np.float32)], approximate="tanh")
case("Identity", [x], [x])

x = f(2, 3, 17)
e = np.exp(x - x.max(-1, keepdims=True))
case("Softmax", [x], [e / e.sum(-1, keepdims=True)], axis=-1)
scale, bias = f(17), f(17)
case("RMSNormalization", [x, scale], [x / np.sqrt((x ** 2).mean(-1, keepdims=True) + np.float32(1e-6)) * scale], axis=-1, epsilon=1e-6)
centred = x - x.mean(-1, keepdims=True)
normed = centred / np.sqrt((centred ** 2).mean(-1, keepdims=True) + np.float32(1e-5))
case("LayerNormalization", [x, scale, bias], [normed * scale + bias], axis=-1)
case("LayerNormalization", [x, scale], [normed * scale], axis=2)
case("ReduceMean", [x, i64(-1)], [x.mean(-1, keepdims=True)], constants=(1,))
case("ReduceMean", [x, i64(2)], [x.mean(-1)], constants=(1,), keepdims=0)

for a, b in [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((2, 1, 3, 4), (5, 4, 6)), ((4,), (4, 5)), ((3, 4), (4,))]:
    x, y = f(*a), f(*b)
    case("MatMul", [x, y], [x @ y])
    case("MatMul", [x, y], [x @ y], constants=(1,))
x, y, z = f(3, 4), f(5, 4), f(5)
case("Gemm", [x, y, z], [x @ y.T + z], constants=(1, 2), transB=1)
case("Gemm", [x, y], [x @ y.T], constants=(1,), transB=1)

x = f(4, 3, 2)
case("Gather", [x, i64(3, 0, -1)], [x[[3, 0, -1]]], axis=0)
case("Gather", [x, np.array([[0, 2], [1, 1]], dtype=np.int64)], [np.take(x, [[0, 2], [1, 1]], axis=1)], axis=1)
case("Gather", [i64(5, 6, 7), i64(2, 0)], [i64(7, 5)], axis=0)
case("Transpose", [x], [x.transpose(2, 0, 1)], perm=[2, 0, 1])
case("Transpose", [x], [x.transpose()])
w = f(4, 5, 2)
case("Concat", [x, w, x], [np.concatenate([x, w, x], 1)], axis=1)
case("Concat", [i64(1, 2), i64(3)], [i64(1, 2, 3)], axis=0)
case("Split", [w, i64(1, 3, 1)], [w[:, :1], w[:, 1:4], w[:, 4:]], constants=(1,), axis=1)
case("Slice", [w, i64(1), i64(4), i64(1)], [w[:, 1:4]], constants=(1, 2, 3))
case("Slice", [w, i64(-3, 0), i64(1000, 2), i64(1, 0), i64(1, 1)], [w[0:2, -3:]], constants=(1, 2, 3, 4))
case("Slice", [w, i64(4), i64(-1000), i64(1), i64(-2)], [w[:, 4::-2]], constants=(1, 2, 3, 4))
case("Reshape", [w, i64(0, -1)], [w.reshape(4, -1)], constants=(1,))
case("Unsqueeze", [x, i64(1)], [x[:, None]], constants=(1,))
case("Squeeze", [x[:, :1], i64(1)], [x[:, 0]], constants=(1,))
case("Shape", [x], [i64(4, 3, 2)])
case("Cast", [np.array([1.7, -2.9, 3.0], dtype=np.float32)], [i64(1, -2, 3)], to=7)
case("Cast", [i64(1, -2, 3)], [np.array([1, -2, 3], dtype=np.float32)], to=1)


def rotate(x4, cos, sin, interleaved):  # x4 [B,H,S,D], cos [B,S,half]
    half = cos.shape[-1]
    c, s = cos[:, None], sin[:, None]
    part, rest = x4[..., :2 * half], x4[..., 2 * half:]
    a, b = (part[..., 0::2], part[..., 1::2]) if interleaved else (part[..., :half], part[..., half:])
    re, im = a * c - b * s, b * c + a * s
    out = np.stack([re, im], -1).reshape(part.shape) if interleaved else np.concatenate([re, im], -1)
    return np.concatenate([out, rest], -1)


B, H, S, D = 2, 3, 4, 8
for interleaved in (0, 1):
    for rotary in (0, 4):
        half = (rotary or D) // 2
        table_c, table_s = f(9, half), f(9, half)
        positions = np.array([[0, 1, 2, 3], [8, 5, 5, 1]], dtype=np.int64)
        x4 = f(B, H, S, D)
        y4 = rotate(x4, table_c[positions], table_s[positions], interleaved)
        flat = lambda v: np.ascontiguousarray(v.transpose(0, 2, 1, 3).reshape(B, S, H * D))
        extra = {"rotary_embedding_dim": rotary} if rotary else {}
        case("RotaryEmbedding", [x4, table_c, table_s, positions], [y4], interleaved=interleaved, **extra)
        case("RotaryEmbedding", [flat(x4), table_c, table_s, positions], [flat(y4)], interleaved=interleaved, num_heads=H, **extra)
        case("RotaryEmbedding", [x4, table_c[positions], table_s[positions]], [y4], interleaved=interleaved, **extra)


def attend(q, k, v, scale, causal, softcap=0.0, window=0):  # [B,H,S,D]
    group = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, group, 1), np.repeat(v, group, 1)
    s = (q.astype(np.float64) @ k.transpose(0, 1, 3, 2)) * scale
    if softcap:
        s = softcap * np.tanh(s / softcap)
    i, j = np.arange(q.shape[2])[:, None], np.arange(k.shape[2])[None]
    if causal:
        s = np.where(j <= i, s, -np.inf)
    if window:
        s = np.where(j > i - window, s, -np.inf)
    e = np.exp(s - s.max(-1, keepdims=True))
    return (e / e.sum(-1, keepdims=True) @ v).astype(np.float32)


q, k, v = f(2, 4, 5, 8), f(2, 2, 5, 8), f(2, 2, 5, 6)
flat = lambda x: np.ascontiguousarray(x.transpose(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], -1))
case("Attention", [q, k, v], [attend(q, k, v, 8 ** -0.5, False)])
case("Attention", [q, k, v], [attend(q, k, v, 8 ** -0.5, True)], is_causal=1)
case("Attention", [flat(q), flat(k), flat(v)], [flat(attend(q, k, v, 0.7, True, 1.5))], is_causal=1, scale=0.7, softcap=1.5,
     q_num_heads=4, kv_num_heads=2)
case("Attention", [flat(q), flat(k), flat(v)], [flat(attend(q, k, v, 8 ** -0.5, True, 0, 2))], is_causal=1, sliding_window=2,
     q_num_heads=4, kv_num_heads=2)

path = pathlib.Path(__file__).with_name("ops.json")
path.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
print(len(cases), "cases,", path.stat().st_size, "bytes")
