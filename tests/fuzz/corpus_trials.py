"""Makes the seeds of the trials target in corpus/trials beside this file. Run: python corpus_trials.py (no
packages needed)"""
import json
import os

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "trials")
os.makedirs(here, exist_ok=True)


def put(name, *objects):
    lines = [o if isinstance(o, bytes) else json.dumps(o).encode() for o in objects]
    with open(os.path.join(here, name), "wb") as f:
        f.write(b"\n".join(lines) + (b"\n" if lines else b""))


def trial(**more):
    slots = [{"pos": p, "arm": a} for p, a in zip("ABC", ("base", "ppft", "prompt"))]
    return {"trial": "t1", "person": "u1", "slots": slots, **more}


values = {"A": 1, "B": 50, "C": 10}
put("empty")
put("least", trial())
put("whole", trial(
    source="judge", domain="values", split="unseen", seed=7,
    sim={"model": "m", "prompt_sha": "0", "orders": [["A", "B", "C"], None, ["B", "A", "C"]]},
    turns=[{"n": 0, "to": "ABC", "user": "Hi \u202e\u0000", "answers": {"A": "one", "B": None, "C": "\ud7ff"}}],
    opening={"best": "B", "provenance": "C"}, rank={"preference": ["B", "A", "C"], "provenance": None},
    vas={"preference": values, "engaging": {}, "provenance": values}, wtp={"A": 2.5}, bdm={"price": 4.1},
    retries=0, usd=None, ms=1))
put("odd", trial(rank={"preference": ["A", "A", "C"]}, vas={"preference": {"A": 101, "Z": 1}}, wtp={"A": -1},
                 opening={"best": "H"}, unknown=1, turns=[{"to": "AZ", "answers": {"D": "x"}}]))
put("twice", trial(), trial(), trial(source="converse"))
put("types", trial(trial=7), trial(slots={}), trial(turns=[1]), trial(vas={"preference": []}), trial(slots=[1, 2]),
    trial(sim={"orders": ["A", 1]}), b"[]", b"null", b"{", b"\xff")
put("slots", trial(slots=[{"pos": "A", "arm": "x"}] * 2), trial(slots=[{"pos": "I", "arm": "x"}] * 9))
put("reply-open", b'Sure. ```json\n{"message": " Hello "}\n```')
put("reply-next", b'{"message": "", "done": true}')
put("reply-choose", b'{"best": "a", "provenance": "C"}')
put("reply-assess", {"rank": {"preference": ["B", "A", "C"], "provenance": ["A", "B", "C"]},
                     "vas": {k: values for k in ("preference", "engaging", "provenance")},
                     "wtp": {"A": 1, "B": 2, "C": 3}})
put("reply-flat", {"rank_preference": ["B", "A", "C"], "rank_provenance": ["A", "B", "C"], "vas_preference": values,
                   "vas_engaging": values, "vas_provenance": values, "wtp": {"A": 1, "B": 2, "C": 3}})
