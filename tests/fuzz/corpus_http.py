"""Makes the seeds of the chat and reply targets in corpus/chat and corpus/reply beside this file. Run:
python corpus_http.py (no packages needed)"""
import json
import os

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


def put(target, name, value):
    os.makedirs(os.path.join(here, target), exist_ok=True)
    with open(os.path.join(here, target, name), "wb") as f:
        f.write(value if isinstance(value, bytes) else json.dumps(value).encode())


hi = [{"role": "user", "content": "hi"}]
put("chat", "least", {"messages": hi})
put("chat", "all", {
    "model": "m", "messages": [{"role": "system", "content": "x"}, {"role": "developer", "content": ""},
                               {"role": "assistant", "content": [{"type": "text", "text": "\u00e9"},
                                                                 {"type": "text", "text": "b"}]}] + hi,
    "temperature": 0.6, "top_p": 0.9, "top_k": 40, "min_p": 0.1, "repetition_penalty": 1.15,
    "no_repeat_ngram": 3, "min_tokens": 2, "max_tokens": 9, "max_completion_tokens": 8, "n": 2,
    "seed": 7, "stop": ["a", "\n\n"], "stream": True, "stream_options": {"include_usage": True},
    "logprobs": True, "top_logprobs": 5, "user": "user12", "metadata": {"id": "p1"}, "ignore_eos": True,
    "tools": [], "response_format": {"type": "text"}, "foo": [1, {"a": None}]})
put("chat", "stop-text", {"messages": hi, "stop": "END"})
put("chat", "nulls", {"messages": hi, "stop": None, "n": None, "stream": None, "user": None})
put("chat", "no-messages", {"messages": []})
put("chat", "messages-object", {"messages": {"role": "user", "content": "hi"}})
put("chat", "part-image", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})
put("chat", "numbers", {"messages": hi, "n": 1e99, "seed": -5, "top_p": 2, "max_tokens": 0.5})
put("chat", "stop-object", {"messages": hi, "stop": {"a": "b"}})
put("chat", "twice", b'{"messages":[],"messages":[{"role":"user","content":"x"}],"n":1,"n":99}')
put("chat", "deep", b'{"messages":' + b"[" * 150 + b"]" * 150 + b"}")
put("chat", "cut", b'{"messages":[{"role":"user","content":"h\\ud83d')

choice = {"index": 0, "message": {"role": "assistant", "content": "hi sk-0123456789"}, "finish_reason": "stop"}
usage = {"prompt_tokens": 3, "completion_tokens": 4}
put("reply", "good", {"choices": [choice], "usage": usage})
put("reply", "three", {"choices": [dict(choice, index=i) for i in (2, 0, 1)], "usage": {"prompt_tokens": -1}})
put("reply", "index-twice", {"choices": [choice, choice, choice]})
put("reply", "no-content", {"choices": [dict(choice, message={"content": None})]})
put("reply", "filter", {"choices": [dict(choice, finish_reason="content_filter")]})
put("reply", "error", {"error": {"message": "key sk-0123456789 for some words of a person\n" + "\u00e9" * 400}})
put("reply", "error-text", {"error": "bad"})
put("reply", "detail", {"detail": "not found"})
put("reply", "html", b"<html>busy</html>")
put("reply", "empty", b"")
