#!/usr/bin/env python3
"""prlhf_step.py MODEL DATA N_PAIRS BATCH [THREADS]: the peer of train.sh. The P-DPO step of the P-RLHF reference code
(Li et al. 2024) restated in PyTorch + PEFT: every pair twice (user and generic row), soft tokens after the first token,
the frozen reference computed each step by switching the adapter off, one padded batch of whole sequences, bf16 weights.
Pairs that prismx leaves out by default are left out here: prompts over 470 tokens, sides over 770. Prints one JSON line:
pairs_per_s (first step left out), rss_gb, on a GPU (DEVICE=cuda) also its peak memory. Needs torch, transformers, peft."""
import json
import os
import resource
import sys
import time

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

MODEL, DATA, N, BATCH = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
DEVICE = os.environ.get("DEVICE", "cpu")
torch.set_default_device(DEVICE)
torch.set_num_threads(int(sys.argv[5]) if len(sys.argv) > 5 else 2)
TOKENS, BANK, ALPHA, BETA, MAX_PROMPT, MAX_TOKENS = 10, 10, 0.5, 0.5, 470, 770
tokenizer = AutoTokenizer.from_pretrained(MODEL)
base = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.bfloat16).to(DEVICE)
embed = base.get_input_embeddings()


def read_pairs():
    """(user, history, chosen, rejected): a turn's first chosen response against each other one."""
    for line in open(f"{DATA}/conversations.jsonl"):
        talk = json.loads(line)
        history, past = talk["conversation_history"], []
        for turn in range(1 + max(item["turn"] for item in history)):
            items = [item for item in history if item["turn"] == turn]
            past = past + [{"role": "user", "content": next(i["content"] for i in items if i["role"] == "user")}]
            answers = [item for item in items if item["role"] == "model"]
            best = next((a for a in answers if a["if_chosen"]), None)
            if best is None:
                break
            for other in answers:
                if not other["if_chosen"]:
                    yield talk["user_id"], past, best["content"], other["content"]
            past = past + [{"role": "assistant", "content": best["content"]}]


def encode(past, answer):
    ids = lambda messages, prompt: tokenizer.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=prompt, return_dict=True)["input_ids"]
    return ids(past + [{"role": "assistant", "content": answer}], False), len(ids(past, True))


def fit(*sides):
    return all(len(tokens) <= MAX_TOKENS and start <= MAX_PROMPT for tokens, start in sides)


every = ((u, encode(past, c), encode(past, r)) for u, past, c, r in read_pairs())
pairs = [row for _, row in zip(range(N), (row for row in every if fit(*row[1:])))]
row_of = {user: i + 1 for i, user in enumerate(sorted({p[0] for p in pairs}))}
coded = [(row_of[u], c, r) for u, c, r in pairs]
names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
model = get_peft_model(base, LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, target_modules=names))
torch.manual_seed(123)
bank = torch.nn.Parameter(
    embed.weight[torch.randint(0, embed.weight.shape[0], (BANK * TOKENS,))].detach().float().view(BANK, TOKENS, -1))
weights = torch.nn.Parameter(torch.zeros(len(row_of) + 1, BANK))
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad] + [bank, weights], lr=5e-5)


def logps(sequences, users):
    length, n = max(len(s) for s, _ in sequences), len(sequences)
    ids, seen, wanted = torch.full((n, length), 2), torch.zeros(n, length).long(), torch.zeros(n, length).bool()
    for i, (s, start) in enumerate(sequences):
        ids[i, :len(s)], seen[i, :len(s)], wanted[i, start:len(s)] = torch.tensor(s), 1, True
    x = embed(ids)
    if users is not None:
        e = torch.einsum("bk,ktd->btd", torch.softmax(weights[users], -1), bank).to(x.dtype)
        put = lambda a, b: torch.cat([a[:, :1], b, a[:, 1:]], 1)
        x = put(x, e)
        seen = put(seen, torch.ones(n, TOKENS).long())
        ids, wanted = put(ids, torch.zeros(n, TOKENS).long()), put(wanted, torch.zeros(n, TOKENS).bool())
    logits = model(inputs_embeds=x, attention_mask=seen).logits[:, :-1]
    token = torch.gather(logits.log_softmax(-1), 2, ids[:, 1:, None])[..., 0]
    return (token * wanted[:, 1:]).sum(-1)


times = []
for at in range(0, len(coded) - BATCH + 1, BATCH):
    start = time.time()
    rows = coded[at:at + BATCH] + [(0, c, r) for _, c, r in coded[at:at + BATCH]]
    users, sequences = torch.tensor([r[0] for r in rows]), [r[1] for r in rows] + [r[2] for r in rows]
    with torch.no_grad(), model.disable_adapter():
        ref = logps(sequences, None)
    policy, n = logps(sequences, torch.cat([users, users])), len(rows)
    h = BETA * ((policy[:n] - ref[:n]) - (policy[n:] - ref[n:])).float()
    loss = -F.logsigmoid(h)
    (ALPHA * loss[users > 0].mean() + (1 - ALPHA) * loss[users == 0].mean()).backward()
    optimizer.step()
    optimizer.zero_grad()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    times.append(time.time() - start)
step = sum(times[1:]) / len(times[1:])
print(json.dumps({"pairs_per_s": BATCH / step, "s_per_step": step,
                  "gpu_gb": torch.cuda.max_memory_allocated() / 1e9 if DEVICE == "cuda" else None,
                  "rss_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}))
