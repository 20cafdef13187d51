"""Makes the seeds of the corpus and checkpoint fuzzers in corpus/corpus and corpus/checkpoint: descriptions,
a byte a number, of small good files and of the damages that matter most. The seeds named file-* are what
the targets wrote for the description of the rest of the name.
Run: python corpus_run.py (no packages needed)"""
import os

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


def put(target, name, numbers):
    os.makedirs(os.path.join(here, target), exist_ok=True)
    with open(os.path.join(here, target, name), "wb") as f:
        f.write(bytes(n & 255 for n in numbers))


# A conversation: user, type, split, then where its pairs and nodes are. A pair: conversation, turn, ids,
# leaves, tokens of prompt, chosen and rejected, scores, pairs of the turn. A node: token, parent.
def corpus(name, users, convs, pairs, nodes, soft_after=1):
    numbers = [len(users), len(convs), len(pairs), len(nodes), soft_after]
    for part in users, convs, pairs, nodes:
        numbers += [n for row in part for n in row]
    put("corpus", name, numbers)


USER, CONV = (ord("u"), 0), (0, 0, 0, 0, 1, 0, 5)
PAIR = (0, 0, 0, 1, 3, 4, 2, 2, 1, 50, 40, 1)
NODES = [(1, -1), (5, 0), (6, 1), (7, 2), (8, 1)]
corpus("one", [USER], [CONV], [PAIR], NODES)
corpus("two", [USER, (ord("v"), 1)], [(0, 1, 1, 0, 2, 0, 6), (1, 2, 2, 2, 1, 6, 3)],
       [PAIR, (0, 1, 2, 3, 3, 5, 3, 1, 1, -1, -1, 1), (1, 0, 0, 1, 1, 2, 1, 1, 1, 100, 1, 1)],
       NODES[:4] + [(8, 1), (9, 2)] + [(1, -1), (2, 0), (3, 0)], 0)
corpus("same-leaf", [USER], [(0, 0, 0, 0, 1, 0, 3)], [(0, 0, 0, 1, 2, 2, 1, 2, 2, -1, -1, 1)], [(1, -1), (2, 0), (3, 1)])
corpus("parent-of-itself", [USER], [CONV], [PAIR], NODES[:4] + [(8, 4)])
corpus("not-depth-first", [USER], [CONV], [PAIR], [(1, -1), (5, 0), (6, 0), (7, 1), (8, 2)])
corpus("two-roots", [USER], [CONV], [PAIR], NODES[:4] + [(8, -1)])
corpus("parent-under-root", [USER], [CONV], [PAIR], NODES[:3] + [(5, -7), (8, 1)])  # once read before its tables
corpus("wrong-depth", [USER], [CONV], [PAIR[:6] + (3,) + PAIR[7:]], NODES)
corpus("token-under-0", [USER], [CONV], [PAIR], NODES[:4] + [(-2, 1)])
corpus("leaf-far", [USER], [CONV], [PAIR[:4] + (127, -128) + PAIR[6:]], NODES)
corpus("tokens-far", [USER], [CONV], [PAIR[:6] + (1, 127, 127) + PAIR[9:]], NODES)
corpus("nodes-far", [USER], [CONV[:6] + (127,)], [PAIR], NODES)
corpus("no-name", [(0, 0)], [CONV], [PAIR], NODES)
corpus("nothing", [], [], [], [])

# Each of four tensors, thrice: how it is written (0: as it should be), its numbers. Then people, the run's
# place, what does not fit.
SIZES = [4, 4, 16, 6]


def checkpoint(name, twist_at=-1, twist=0, people=(0, 0), place=(0,) * 6, slip=0):
    numbers = []
    for i in range(12):
        n = SIZES[i % 4]
        numbers += [twist if i == twist_at else 0] + [(7 * i + k) % 100 - 40 for k in range(n)]
    put("checkpoint", name, numbers + list(people) + list(place) + [slip])


checkpoint("good")
checkpoint("later", place=(0, 0, 3, 2, 100, 9))
for at, (twist, name) in enumerate([(1, "missing"), (2, "wider"), (3, "flat"), (4, "doubles"), (5, "whole"),
                                    (6, "nan"), (7, "infinite")]):
    checkpoint(name, twist_at=at, twist=twist)
checkpoint("fewer-people", people=(1, 0))
checkpoint("other-people", people=(0, 1))
checkpoint("format-2", place=(1, 0, 0, 0, 0, 0))
checkpoint("step-under-0", place=(0, -128, 0, 0, 0, 0))
checkpoint("position-under-0", place=(0, 0, 0, -1, 0, 0))
checkpoint("other-corpus", slip=1)
checkpoint("other-content", slip=3)
put("checkpoint", "zeros", [0])
