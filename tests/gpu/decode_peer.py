#!/usr/bin/env python3
"""decode_peer.py MODEL BATCH NEW_TOKENS: greedy decoding by transformers on a GPU in bf16, with its key-value cache and
scaled-dot-product attention; prompts of 64 random tokens. Prints new tokens a second, the second of two runs. Needs torch,
transformers. Device: DEVICE, cuda by default."""
import os
import sys
import time

import torch
from transformers import AutoModelForCausalLM

MODEL, BATCH, NEW = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
DEVICE = os.environ.get("DEVICE", "cuda")
model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.bfloat16).to(DEVICE).eval()
ids = torch.randint(3, model.config.vocab_size, (BATCH, 64), generator=torch.Generator().manual_seed(1)).to(DEVICE)
for _ in range(2):
    start = time.time()
    with torch.no_grad():
        out = model.generate(ids, attention_mask=torch.ones_like(ids), min_new_tokens=NEW, max_new_tokens=NEW, do_sample=False,
                             pad_token_id=0)
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    took = time.time() - start
print(f"{BATCH * (out.shape[1] - 64) / took:.1f}")
