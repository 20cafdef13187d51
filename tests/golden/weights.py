"""Makes the goldens of the weights readers, beside this file:
weights.gguf         one tensor of each type that is read, metadata of each type (the gguf package)
weights.f32          the tensors' values, f32, in the order of the file (gguf.quants)
weights.safetensors  types, a scalar, an empty tensor, metadata (the safetensors and torch packages)
and prints the SHA-256 of all 65,536 halves as f32 (numpy), which test_tensor.c holds.
Run: python weights.py"""
import hashlib
import os

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as T
from safetensors.torch import save_file

here = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(7)


def half_bytes(n):
    """Scales as they occur: both signs, one zero, one subnormal half."""
    s = (rng.normal(size=n) * 0.02).astype(np.float16)
    s[0], s[-1] = 0, np.float16(3e-7)
    return s.view(np.uint8).reshape(n, 2)


def blocks(qtype, n, half_at):
    """n blocks of random bytes with sane scales at the given offsets."""
    b = rng.integers(0, 256, (n, gguf.GGML_QUANT_SIZES[qtype][1]), dtype=np.uint8)
    for at in half_at:
        b[:, at:at + 2] = half_bytes(n)
    return b


def main():
    w = gguf.GGUFWriter(os.path.join(here, "weights.gguf"), "llama")
    for name, value in dict(uint8=200, int8=-100, uint16=60000, int16=-30000, uint32=4000000000,
                            int32=-2000000000, uint64=2**63 - 1, int64=-2**63, float32=0.1,
                            float64=0.1, bool=True).items():
        getattr(w, "add_" + name)("t." + name, value)
    w.add_uint64("t.huge", 2**63)
    w.add_string("t.text", "häß\0lich")
    w.add_array("a.text", ["", "one", "zwölf", "x" * 40])
    w.add_array("a.int32", [3, -4, 5])
    w.add_array("a.float32", [0.5, -1.25])
    w.add_array("a.bool", [True, False, True])
    values = []
    for qtype, half_at in ((T.Q8_0, (0,)), (T.Q4_0, (0,)), (T.Q4_1, (0, 2)), (T.Q5_0, (0,)),
                           (T.Q5_1, (0, 2)), (T.Q4_K, (0, 2)), (T.Q5_K, (0, 2)), (T.Q6_K, (208,))):
        elements = gguf.GGML_QUANT_SIZES[qtype][0]
        rows, cols = 3, (3 if elements == 32 else 2)
        b = blocks(qtype, rows * cols, half_at).reshape(rows, -1)
        w.add_tensor(qtype.name, b, raw_dtype=qtype)
        values.append(gguf.quants.dequantize(b, qtype))
    x = rng.normal(size=(2, 3, 5)).astype(np.float32)
    w.add_tensor("F32", x)
    w.add_tensor("F16", x.astype(np.float16))
    values += [x, x.astype(np.float16).astype(np.float32)]
    b = gguf.quants.quantize(x, T.BF16)
    w.add_tensor("BF16", b, raw_dtype=T.BF16)
    values.append(gguf.quants.dequantize(b, T.BF16))
    w.add_tensor("I32", np.arange(4, dtype=np.int32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    with open(os.path.join(here, "weights.f32"), "wb") as f:
        for v in values:
            assert v.dtype == np.float32 and np.isfinite(v).all()
            f.write(v.tobytes())

    ramp = torch.arange(15, dtype=torch.float32).reshape(3, 5) / 4 - 1
    tensors = {"f32": ramp, "f16": ramp.half(), "bf16": ramp.bfloat16(),
               "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 7), "i64": torch.arange(3),
               "bool": torch.tensor([True, False]),
               "rank4": torch.arange(24, dtype=torch.float32).reshape(1, 2, 3, 4)}
    save_file(tensors, os.path.join(here, "weights.safetensors"),
              metadata={"note": 'a "b" ü'})

    halves = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32)
    halves[np.isnan(halves)] = 0
    print("halves, NaN as 0:", hashlib.sha256(halves.tobytes()).hexdigest())


main()
