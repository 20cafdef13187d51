"""Makes the seeds of the JSON and configuration targets in corpus/json and corpus/config beside this
file. Run: python corpus_json.py (no packages needed)"""
import os

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


def put(target, name, data):
    os.makedirs(os.path.join(here, target), exist_ok=True)
    with open(os.path.join(here, target, name), "wb") as f:
        f.write(data)


put("json", "empty", b"")
put("json", "all", b'{"a": [1, -0, 2.5e-3, true, false, null], "b": {"c": "\\u00e9\\ud83d\\ude00\\n"}}')
put("json", "lines", b'{"a": 1}\n\n[2]\r\n"x"')
put("json", "comments", b'// head\n{"a": "//no\\"", // yes\n "b": 1}')
put("json", "mark", b"\xef\xbb\xbf7")
put("json", "nul", b'["a\x00b", "\\u0000"]')
put("json", "half-pair", b'"\\ud800\\u0041"')
put("json", "number-edges", b"[9007199254740993, 1e308, 5e-324, 1e999, 01]")
put("json", "deep", b"[" * 199 + b"{}" + b"]" * 199)
put("json", "too-deep", b"[" * 100000)
put("json", "bad-utf8", b'"\xed\xa0\x80"')
put("config", "nested", b'{"lora": {"r": 4, "targets": ["q_proj"]}, "optim.betas": [0.9, 0.99], "seed": null}')
put("config", "types", b'{"model.path": "x", "precision": "f32", "full_finetune": true, "loss": {"alpha": 1}}')
put("config", "unknown", b'{"lora": {"rank": 4}}')
put("config", "twice", b'{"lora": {"r": 4}, "lora.r": 5}')
put("config", "options", b'lora.r=16\nlora.targets=q_proj, o_proj\noptim.betas=[0.8,0.9]\nmodel.path=a=b\nuser={"model":"bank"}')
put("config", "options-bad", b"=1\nlora.r\nlora.targets=[\noptim.betas=\nprecision=\"f32\n=")
