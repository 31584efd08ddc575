"""llama.cpp's logits through its C interface (the library inside the PyPI package xllamacpp), for the comparisons here."""
import ctypes
import glob
import os

import numpy as np
import xllamacpp


class Blob(ctypes.Structure):
    """A parameter struct passed through as it is; larger than any version of it."""
    _fields_ = [("bytes", ctypes.c_byte * 1024)]


class Batch(ctypes.Structure):
    _fields_ = [("n_tokens", ctypes.c_int32), ("token", ctypes.POINTER(ctypes.c_int32)), ("embd", ctypes.c_void_p),
                ("pos", ctypes.POINTER(ctypes.c_int32)), ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
                ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))), ("logits", ctypes.POINTER(ctypes.c_int8))]


def llama_library():
    llama = ctypes.CDLL(glob.glob(os.path.join(os.path.dirname(xllamacpp.__file__), "*.so"))[0])
    llama.silent = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
    llama.llama_log_set(llama.silent, None)
    pointer = ctypes.c_void_p
    for name, result, arguments in (
            ("model_default_params", Blob, []), ("context_default_params", Blob, []),
            ("model_load_from_file", pointer, [ctypes.c_char_p, Blob]), ("init_from_model", pointer, [pointer, Blob]),
            ("batch_init", Batch, [ctypes.c_int32] * 3), ("decode", ctypes.c_int32, [pointer, Batch]),
            ("get_logits", ctypes.POINTER(ctypes.c_float), [pointer]), ("model_get_vocab", pointer, [pointer]),
            ("n_ctx", ctypes.c_uint32, [pointer]),
            ("vocab_n_tokens", ctypes.c_int32, [pointer]), ("free", None, [pointer]), ("model_free", None, [pointer])):
        function = getattr(llama, "llama_" + name)
        function.restype, function.argtypes = result, arguments
    llama.llama_tokenize.restype = ctypes.c_int32
    llama.llama_tokenize.argtypes = [pointer, ctypes.c_char_p, ctypes.c_int32, ctypes.POINTER(ctypes.c_int32), ctypes.c_int32,
                                     ctypes.c_bool, ctypes.c_bool]
    llama.llama_backend_init()
    return llama


class LlamaModel:
    """One model and one context of it; feed() gives the logits of every id, [len(ids), vocab]."""

    def __init__(self, llama, path, context=512):
        self.llama, self.position = llama, 0
        self.model = llama.llama_model_load_from_file(str(path).encode(), llama.llama_model_default_params())
        assert self.model, f"llama.cpp does not load {path}"
        params = llama.llama_context_default_params()
        ctypes.c_uint32.from_buffer(params, 0).value = context  # n_ctx is the first field
        self.context = llama.llama_init_from_model(self.model, params)
        assert self.context, f"llama.cpp makes no context for {path}"
        self.vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self.model))

    def feed(self, ids):
        batch = self.llama.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = int(token), self.position + i, 1, 1
            batch.seq_id[i][0] = 0
        assert self.llama.llama_decode(self.context, batch) == 0
        self.position += len(ids)
        return np.ctypeslib.as_array(self.llama.llama_get_logits(self.context), (len(ids), self.vocab)).copy()

    def tokenize(self, text):
        """Ids with the special tokens of the model in front; text that looks like a special token stays text."""
        raw = text.encode()
        ids = (ctypes.c_int32 * (len(raw) + 8))()
        count = self.llama.llama_tokenize(self.llama.llama_model_get_vocab(self.model), raw, len(raw), ids, len(ids), True, False)
        assert count >= 0
        return list(ids[:count])

    def close(self):
        self.llama.llama_free(self.context)
        self.llama.llama_model_free(self.model)


def llama_logits(llama, path, ids, context=512):
    """[len(ids), vocab] of one forward over ids."""
    model = LlamaModel(llama, path, context)
    logits = model.feed(ids)
    model.close()
    return logits
