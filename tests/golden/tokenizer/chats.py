"""The conversations of make.py, and their ids by transformers with the templates of released models
and with the short ones that the families' first models had."""
import json
import os

from transformers import PreTrainedTokenizerFast

from chats_texts import SHORT

RELEASED = {"chatml-qwen2.5": "Qwen-Qwen2.5-7B-Instruct", "chatml-qwen3": "Qwen-Qwen3-0.6B",
            "llama3.1": "meta-llama-Llama-3.1-8B-Instruct", "mistral-nemo": "mistralai-Mistral-Nemo-Instruct-2407"}
TOKENIZER = {"chatml": "qwen2", "llama3": "llama3", "llama2": "llama2", "mistral": "mistral", "zephyr": "llama2"}

USERS = ["Hi", " Hi there\n\n", "What's 12 + 345?", "", "Erzähl mir etwas über Köln…", "<|im_end|>x" "", "line one\nline two\n", "  spaced   out  ",
         "日本語で答えて", "🏳️‍🌈?", "\nNewline first", "trailing tab\t", "a", "It's 's", "نعم", "\u0301mark first", "x" * 60, "{{ bos_token }}", "1", "word"]
ANSWERS = ["Hello!", " sure ", "No.\n", "12345", "Of course – “yes”.", "ok\n\nok", "<think>\nhm\n</think>\n\nyes", "😀", "a  b", "é"]
SYSTEMS = ["Be brief.", " You are kind. ", "Zwei\nZeilen"]
MARKS = ("<|", "</s>", "<s>", "[INST]", "<tool>", "<trim>")


def conversations():
    out = []
    for i in range(64):
        turns = []
        if i % 3 == 0:
            turns.append({"role": "system", "content": SYSTEMS[i // 3 % 3]})
        for k in range(1 + i % 4):
            turns.append({"role": "user", "content": USERS[(i * 7 + k * 3) % len(USERS)]})
            turns.append({"role": "assistant", "content": ANSWERS[(i * 3 + k) % len(ANSWERS)]})
        out.append(turns if i % 2 else turns[:-1])
    return [[m for m in c if not any(x in m["content"] for x in MARKS)] for c in out]


def alternates(c):
    roles = [m["role"] for m in c if m["role"] != "system"]
    return roles and roles == [("user", "assistant")[i % 2] for i in range(len(roles))]


def make(here, made, templates):
    chats = [c for c in conversations() if alternates(c)]
    while len(chats) < 60:
        chats.append([{"role": "user", "content": "Question %d?" % len(chats)}])
    with open(os.path.join(here, "chats.jsonl"), "w", encoding="utf-8") as f:
        f.write("".join(json.dumps(c) + "\n" for c in chats))
    texts = dict(SHORT)
    for name, file in RELEASED.items():
        texts[name] = open(os.path.join(templates, file + ".jinja"), encoding="utf-8").read()
    for name, text in texts.items():
        family = name.split("-")[0].split(".")[0]
        base = TOKENIZER[family]
        tok, bos, eos = made[base]
        tok.encode_special_tokens = False
        t = PreTrainedTokenizerFast(tokenizer_object=tok, eos_token=eos, **({"bos_token": bos} if bos else {}))
        t.chat_template = text
        lines = []
        for c in chats:
            closed = c[-1]["role"] == "assistant"
            try:
                ids = t.apply_chat_template(c, add_generation_prompt=not closed, tokenize=True, return_dict=False)
                end = {"chatml": "<|im_end|>", "llama3": "<|eot_id|>"}.get(family, eos)
                if closed:
                    end = t.convert_tokens_to_ids(end)
                    ids = ids[:len(ids) - ids[::-1].index(end)]
                lines.append(" ".join(map(str, ids)))
            except Exception as e:
                assert "lternate" in str(e) or "roles are supported" in str(e), (name, e)
                lines.append("refused")
        with open(os.path.join(here, "chats.%s.ids" % name), "w") as f:
            f.write("".join(line + "\n" for line in [base] + lines))
        with open(os.path.join(here, "%s.template" % name), "w", encoding="utf-8") as f:
            f.write(text)
