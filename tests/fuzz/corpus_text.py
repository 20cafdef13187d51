"""Makes the seeds of the tokenizer and template fuzzers in corpus/tokenizer and corpus/template: small
vocabularies of every kind, chat templates of the five families, and the language's constructs.
Run: python corpus_text.py (no packages needed)"""
import json
import os
import struct
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "golden", "tokenizer"))
BYTES = [chr(c) for c in list(range(0x21, 0x7F)) + list(range(0xA1, 0xAD)) + list(range(0xAE, 0x100))] + [chr(0x100 + i) for i in range(68)]


def put(target, name, data):
    os.makedirs(os.path.join(here, "corpus", target), exist_ok=True)
    with open(os.path.join(here, "corpus", target, name), "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())


def tokenizer(pieces, merges, added=(), **more):
    model = dict(type="BPE", vocab={p: i for i, p in enumerate(pieces)}, merges=merges)
    model.update(more.pop("model", {}))
    tokens = [dict({"id": len(pieces) + i, "content": c, "special": True}, **f) for i, (c, f) in enumerate(added)]
    return json.dumps(dict(model=model, added_tokens=tokens, **more), ensure_ascii=False)


def hf_seeds():
    end = [("<|im_end|>", {}), ("wor", {"special": False, "lstrip": True, "rstrip": True, "single_word": True}), ("É", {"normalized": True})]
    pieces, merges = BYTES + ["He", "ll", "Hell", "Ġw"], ["H e", "l l", "He ll", "Ġ w"]
    level = {"type": "ByteLevel", "add_prefix_space": True}
    put("tokenizer", "byte-level", tokenizer(pieces, merges, end, pre_tokenizer=level, normalizer={"type": "NFC"}))
    steps = [{"type": "Digits", "individual_digits": True}, {"type": "Punctuation", "behavior": "Contiguous"}, {"type": "WhitespaceSplit"}, {"type": "Whitespace"}]
    steps += [{"type": "Split", "pattern": {"Regex": "\\s+|(?i:'s)|[^\\s\\p{L}]"}, "behavior": b, "invert": i} for b, i in
              (("Isolated", False), ("Removed", True), ("MergedWithPrevious", False), ("MergedWithNext", True), ("Contiguous", False))]
    steps += [{"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithNext"}]
    for i, s in enumerate(steps):
        put("tokenizer", "split-%d" % i, tokenizer(pieces[:60], [], end[:1], pre_tokenizer={"type": "Sequence", "pretokenizers": [s]}))
    spm = ["<unk>"] + ["<0x%02X>" % b for b in range(256)] + list("▁Helowrd") + ["▁w", "or", "▁wor"]
    fallback = {"byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>"}
    norm = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
                                                {"type": "Replace", "pattern": {"Regex": "x*"}, "content": "e"}, {"type": "Strip"}]}
    decoder = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "Strip", "content": " ", "start": 1}]}
    put("tokenizer", "sentencepiece", tokenizer(spm, [["▁", "w"], ["o", "r"], ["▁w", "or"]], model=fallback, normalizer=norm, decoder=decoder))
    for scheme in "first", "always", "never":
        put("tokenizer", "metaspace-" + scheme, tokenizer(spm[257:], ["▁ w"], model={"unk_token": "H"},
                                                          pre_tokenizer={"type": "Metaspace", "prepend_scheme": scheme, "split": scheme != "first"}))
    put("tokenizer", "empty", b"")
    put("tokenizer", "no-object", "[1]")
    put("tokenizer", "deep", '{"normalizer":' + '{"type":"Sequence","normalizers":[' * 30 + "]}" * 30 + "}")
    put("tokenizer", "many-steps", json.dumps({"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}] * 40}}))
    put("tokenizer", "hole", '{"model":{"vocab":{"a":5},"merges":[]}}')
    put("tokenizer", "pathological", '{"model":{"vocab":{"a":0},"merges":[]},"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(?:l+)+$|(?:o|oo)+x"},"behavior":"Isolated"}}')


def text(s):
    s = s.encode()
    return struct.pack("<Q", len(s)) + s


def gguf(pairs):
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(text("tokenizer." + k) + v for k, v in pairs)


def strings(items):
    return struct.pack("<IIQ", 9, 8, len(items)) + b"".join(map(text, items))


def numbers(kind, code, items):
    return struct.pack("<IIQ", 9, kind, len(items)) + struct.pack("<%d%s" % (len(items), code), *items)


def gguf_seeds():
    string = lambda s: struct.pack("<I", 8) + text(s)
    u32 = lambda v: struct.pack("<II", 4, v)
    pieces = BYTES + ["He", "<|im_end|>"]
    put("tokenizer", "gguf-bytes", gguf([("ggml.model", string("gpt2")), ("ggml.pre", string("smollm")), ("ggml.tokens", strings(pieces)),
                                         ("ggml.token_type", numbers(5, "i", [1] * 257 + [3])), ("ggml.merges", strings(["H e"])),
                                         ("ggml.bos_token_id", u32(257)), ("chat_template", string("x"))]))
    spm = ["<unk>", "<s>", "<0x0A>"] + list("▁Helo") + ["▁H", "user"]
    n = len(spm)
    put("tokenizer", "gguf-scores", gguf([("ggml.model", string("llama")), ("ggml.tokens", strings(spm)), ("ggml.scores", numbers(6, "f", [-float(i) for i in range(n)])),
                                          ("ggml.token_type", numbers(5, "i", [2, 3, 6] + [1] * (n - 4) + [4])), ("ggml.add_space_prefix", struct.pack("<IB", 7, 1))]))


def template_seeds():
    import chats_texts
    for name, source in chats_texts.SHORT.items():
        put("template", name, source)
    pieces = ["{{ messages[-1].content[1:] ~ 3 }}", "{% for k, v in messages[0] | items if k != 'x' %}{{ k + v }}{% else %}-{% endfor %}",
              "{% macro m(a, b='q') -%} {{ a ~ b }} {%- endmacro %}{{ m('x') + m(a='y', b=messages[0]['content'].strip()) }}",
              "{% set ns = namespace(n=1) %}{% for m in messages[::-1] %}{% set ns.n = ns.n + loop.index * 2 // 3 % 5 %}{% if loop.last %}{% break %}{% else %}{% continue %}{% endif %}{% endfor %}{{ ns.n }}",
              "{{ 'a' if x is defined and not y else ('b' 'c\\n\\x41\\u00e9') | upper }}{{ messages | selectattr('role', 'equalto', 'user') | list | length }}",
              "{%- set t %}cap{{ messages[0].content | trim }}{% endset -%}{{ t.replace('a', 'zz').split('z') | join('-') }}",
              "{{ {'a': [1, (2, 3)], 'b': none}['a'][1] | length }}{{ range(3) | reverse | first }}{{ 'x' in 'xyz' }}{{ 1 <= 2 }}{{ messages | last is mapping }}",
              "{% generation %}{{ raise_exception('no ' + messages[0].role) }}{% endgeneration %}", "{{ strftime_now('%Y') }}", "{# c #}\n  {%+ if true %}\n y {% endif +%}\n"]
    for i, source in enumerate(pieces):
        put("template", "construct-%d" % i, source)
    put("template", "empty", "")
    put("template", "deep", "{{ " + "(" * 300 + "1" + ")" * 300 + " }}")
    put("template", "deep-if", "{% if 1 %}" * 300)
    put("template", "deep-not", "{{ " + "not " * 300 + "1 }}")
    put("template", "endless", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}")
    put("template", "grow", "{% set ns = namespace(s='ab') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}")
    put("template", "loops", "{% for a in range(9999) %}{% for b in range(9999) %}{{ a * b }}{% endfor %}{% endfor %}")


hf_seeds()
gguf_seeds()
template_seeds()
