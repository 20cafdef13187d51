#!/usr/bin/env python3
"""decoding.py: tests/golden/decoding.tsv, what transformers' logits processors and warpers make of
random logits. One case a line: temperature top_k top_p min_p repetition_penalty no_repeat_ngram
min_new_tokens n_ids n_new, the ids, 48 logits, 48 probabilities. Temperature 0 is greedy: 1 for the
first of the largest. Needs torch and transformers."""
import os
import random

import torch
from transformers import (LogitsProcessorList, MinNewTokensLengthLogitsProcessor, MinPLogitsWarper,
                          NoRepeatNGramLogitsProcessor, RepetitionPenaltyLogitsProcessor,
                          TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper)

VOCAB, ENDS = 48, [2, 7]
rng = random.Random(4)
torch.manual_seed(4)
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "decoding.tsv"), "w") as out:
    for case in range(40):
        t = rng.choice([0, 0.6, 1, 1.7])
        k = rng.choice([0, 0, 5, 20])
        p = rng.choice([1, 0.9, 0.5])
        mp = rng.choice([0, 0, 0.1])
        pen = rng.choice([1, 1.15, 2])
        ngram = rng.choice([0, 2, 3])
        least = rng.choice([0, 0, 8])
        n_new = rng.randrange(0, 12)
        ids = [rng.randrange(0, 12) for _ in range(n_new + rng.randrange(1, 20))]
        logits = (torch.randn(1, VOCAB) * 3).float()
        processors = LogitsProcessorList()
        if pen != 1:
            processors.append(RepetitionPenaltyLogitsProcessor(float(pen)))
        if ngram:
            processors.append(NoRepeatNGramLogitsProcessor(ngram))
        if least:
            processors.append(MinNewTokensLengthLogitsProcessor(len(ids) - n_new, least, ENDS))
        if t > 0:
            processors.append(TemperatureLogitsWarper(float(t)))
            if k:
                processors.append(TopKLogitsWarper(k))
            if p < 1:
                processors.append(TopPLogitsWarper(float(p)))
            if mp:
                processors.append(MinPLogitsWarper(float(mp)))
        scores = processors(torch.tensor([ids]), logits.clone())
        if t > 0:
            probs = torch.softmax(scores[0].double(), 0).tolist()
        else:
            best = int(scores[0].argmax())
            probs = [float(i == best) for i in range(VOCAB)]
        row = [t, k, p, mp, pen, ngram, least, len(ids), n_new, *ids]
        row += [f"{x:.9g}" for x in logits[0].tolist()] + [f"{x:.9g}" for x in probs]
        out.write("\t".join(map(str, row)) + "\n")
