"""Makes the seeds of the weights readers in corpus/gguf, corpus/safetensors and
corpus/safetensors_index beside this file: small good files of each kind that the fuzzers start
from, the damages that matter most, and inputs that once broke a reader.
Run: python corpus.py (no packages needed)"""
import json
import os
import struct

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


def put(target, name, data):
    os.makedirs(os.path.join(here, target), exist_ok=True)
    with open(os.path.join(here, target, name), "wb") as f:
        f.write(data)


def text(s):
    s = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(s)) + s


def gguf(pairs, tensors, version=3, align=32, tail=b""):
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs))
    for key, value in pairs:
        out += text(key) + value
    at = 0
    body = b""
    for name, dims, kind, data in tensors:
        out += text(name) + struct.pack("<I", len(dims)) + struct.pack("<%dQ" % len(dims), *dims)
        out += struct.pack("<IQ", kind, at)
        data += bytes(-len(data) % align)
        at += len(data)
        body += data
    return out + bytes(-len(out) % align) + body + tail


def scalar(number, code, value):
    return struct.pack("<I" + code, number, value)


def array(number, items):
    return struct.pack("<IIQ", 9, number, len(items)) + b"".join(items)


SCALARS = [("u8", 0, "B", 7), ("i8", 1, "b", -7), ("u16", 2, "H", 7), ("i16", 3, "h", -7),
           ("u32", 4, "I", 7), ("i32", 5, "i", -7), ("f32", 6, "f", .5), ("b", 7, "B", 1),
           ("u64", 10, "Q", 7), ("i64", 11, "q", -7), ("f64", 12, "d", .5)]
TYPES = dict(f32=(0, 1, 4), f16=(1, 1, 2), q4_0=(2, 32, 18), q4_1=(3, 32, 20), q5_0=(6, 32, 22),
             q5_1=(7, 32, 24), q8_0=(8, 32, 34), q4_k=(12, 256, 144), q5_k=(13, 256, 176),
             q6_k=(14, 256, 210), i8=(24, 1, 1), bf16=(30, 1, 2))


def gguf_seeds():
    put("gguf", "empty", b"")
    put("gguf", "nothing-in-it", gguf([], []))
    scalars = [(k, scalar(n, c, v)) for k, n, c, v in SCALARS]
    put("gguf", "scalars", gguf(scalars, []))
    arrays = [("t", array(8, [text("a"), text(""), text("bc")])), ("none", array(8, []))]
    arrays += [("a." + k, array(n, [struct.pack("<" + c, v)] * 3)) for k, n, c, v in SCALARS]
    put("gguf", "arrays", gguf(arrays, []))
    put("gguf", "alignment-1", gguf([("general.alignment", scalar(4, "I", 1))],
                                    [("a", [3], 24, b"abc"), ("b", [1], 24, b"d")], align=1))
    for name, (number, elements, size) in TYPES.items():
        data = bytes(i * 37 % 251 for i in range(2 * size))
        put("gguf", "type-" + name, gguf([("k", struct.pack("<I", 8) + text("v"))],
                                         [(name, [elements, 2], number, data)]))
    put("gguf", "ranks", gguf([], [("s", [], 0, bytes(4)), ("v", [2], 0, bytes(8)),
                                   ("z", [0, 3], 0, b""), ("q", [1, 2, 1, 2], 0, bytes(16))],
                              version=2))
    put("gguf", "array-of-arrays", gguf([("k", struct.pack("<IIQ", 9, 9, 1))], []))
    put("gguf", "length-2-63", gguf([("k", struct.pack("<IIQ", 9, 8, 1 << 63))], []))
    put("gguf", "dims-overflow", gguf([], [("a", [1 << 62, 1 << 62], 0, b"")]))
    put("gguf", "cut", gguf([], [("a", [64], 0, bytes(256))])[:-40])


def st(header, data=b"", length=None):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def one(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def safetensors_seeds():
    put("safetensors", "empty", b"")
    put("safetensors", "nothing-in-it", st({}))
    put("safetensors", "three", st({"__metadata__": {"format": "pt"}, "a": one("F32", [2, 1], 0, 8),
                                    "b": one("BF16", [3], 8, 14), "c": one("F16", [], 14, 16)},
                                   bytes(range(16))))
    put("safetensors", "other-types", st({"a": one("I64", [1], 0, 8), "b": one("BOOL", [2], 8, 10),
                                          "c": one("F4", [9, 0, 1, 2], 10, 11)}, bytes(11)))
    put("safetensors", "odd-place", st({"a": one("U8", [1], 0, 1),
                                        "b": one("F32", [1], 1, 5)}, bytes(5)))
    put("safetensors", "overlap", st({"a": one("U8", [4], 0, 4),
                                      "b": one("U8", [4], 2, 6)}, bytes(6)))
    put("safetensors", "doubled", st(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
                                     b'"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
                                     bytes(2)))
    put("safetensors", "length-2-63", st({}, length=1 << 63))
    put("safetensors", "deep", st(b'{"a":' + b"[" * 300 + b"]" * 300 + b"}"))
    put("safetensors", "dims-overflow", st({"a": one("F32", [1 << 52, 1 << 52], 0, 0)}))
    put("safetensors", "escapes", st(b'{"\\u00fc\\n":{"dtype":"\\u00468","shape":[],'
                                     b'"data_offsets":[0,0]}} '))


def index_seeds():
    def index(value):
        return json.dumps(value).encode()
    put("safetensors_index", "empty", b"")
    put("safetensors_index", "good", index({"metadata": {"total_size": 16},
                                            "weight_map": {"a": "1", "b": "1", "c": "2"}}))
    put("safetensors_index", "part", index({"weight_map": {"a": "1"}}))
    put("safetensors_index", "none", index({"weight_map": {}}))
    put("safetensors_index", "wrong-shard", index({"weight_map": {"a": "1", "c": "1"}}))
    put("safetensors_index", "itself", index({"weight_map": {"a": "model.safetensors.index.json"}}))
    put("safetensors_index", "mark-and-digit", b"\xef\xbb\xbf7")  # once an "out of memory"
    put("safetensors_index", "parent", index({"weight_map": {"a": ".."}}))
    put("safetensors_index", "path", index({"weight_map": {"a": "../1"}}))


gguf_seeds()
safetensors_seeds()
index_seeds()
