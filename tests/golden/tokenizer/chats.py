"""The conversations of make.py, and their ids by transformers with the templates of released models
and with the short ones that the families' first models had."""
import json
import os

from transformers import PreTrainedTokenizerFast

SHORT = {
    "chatml-plain": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    "chatml-smollm2": "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "llama2-chat": "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    "mistral-v1": "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token + ' ' }}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}",
    "mistral-v2": "{%- if messages[0]['role'] == 'system' %}\n    {%- set system_message = messages[0]['content'] %}\n    {%- set loop_messages = messages[1:] %}\n{%- else %}\n    {%- set loop_messages = messages %}\n{%- endif %}\n\n{{- bos_token }}\n{%- for message in loop_messages %}\n    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\n        {{- raise_exception('After the optional system message, conversation roles must alternate user/assistant/user/assistant/...') }}\n    {%- endif %}\n    {%- if message['role'] == 'user' %}\n        {%- if loop.first and system_message is defined %}\n            {{- ' [INST] ' + system_message + '\\n\\n' + message['content'] + ' [/INST]' }}\n        {%- else %}\n            {{- ' [INST] ' + message['content'] + ' [/INST]' }}\n        {%- endif %}\n    {%- elif message['role'] == 'assistant' %}\n        {{- ' ' + message['content'] + eos_token}}\n    {%- else %}\n        {{- raise_exception('Only user and assistant roles are supported, with the exception of an initial optional system message!') }}\n    {%- endif %}\n{%- endfor %}\n",
    "mistral-v7": "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + '[/INST]' }}{% elif message['role'] == 'system' %}{{ '[SYSTEM_PROMPT] ' + message['content'] + '[/SYSTEM_PROMPT]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token }}{% else %}{{ raise_exception('Only user, system and assistant roles are supported!') }}{% endif %}{% endfor %}",
    "llama3-first": "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    "zephyr-beta": "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
}
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
