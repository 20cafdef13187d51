"""Makes model_a, model_b (tiny random Llama models), model_b.gguf and their cases for tests/unit/test_model.c:
log-probabilities and the gradient of every trainable tensor by PyTorch, transformers and PEFT in float64.

    python model.py        # writes beside itself

a: tied table, grouped queries, bank of soft tokens, adapters on some layers, config.json of transformers 5.
b: separate head, Llama-3 frequencies, heads of 6 with a width of 32, one key-value head, two shards,
   individual soft tokens, adapters everywhere, config.json of transformers 4.
"""
import copy
import json
import os
import shutil

import gguf
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama import modeling_llama

HERE = os.path.dirname(os.path.abspath(__file__))
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
R, ALPHA, T_SOFT, BANK, USERS, D, VOCAB = 4, 6, 2, 3, 3, 32, 64


def norm64(self, x):
    """LlamaRMSNorm without its cast to float32."""
    return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))


modeling_llama.LlamaRMSNorm.forward = norm64


def make(name):
    torch.manual_seed(len(name) + ord(name[-1]))
    common = dict(vocab_size=VOCAB, hidden_size=D, intermediate_size=40, num_hidden_layers=2,
                  num_attention_heads=4, max_position_embeddings=64, initializer_range=0.2)
    if name == "a":
        config = LlamaConfig(**common, num_key_value_heads=2, tie_word_embeddings=True, rms_norm_eps=1e-5,
                             rope_parameters={"rope_type": "default", "rope_theta": 5000.0})
    else:
        config = LlamaConfig(**common, num_key_value_heads=1, head_dim=6, tie_word_embeddings=False,
                             rms_norm_eps=1e-6,
                             rope_parameters={"rope_type": "llama3", "rope_theta": 100.0, "factor": 8.0,
                                              "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                              "original_max_position_embeddings": 32})
    config._attn_implementation = "eager"
    model = LlamaForCausalLM(config)
    for key, value in model.named_parameters():
        if "norm" in key:
            value.data = 1 + 0.2 * torch.randn_like(value)
        value.data = value.data.bfloat16().float()  # exact in bf16, which the files hold
    return model


def write_model(model, name):
    folder = os.path.join(HERE, "model_" + name)
    shutil.rmtree(folder, ignore_errors=True)
    model = copy.deepcopy(model).bfloat16()  # the rotary frequencies of the original stay f32
    if name == "a":
        model.save_pretrained(folder)
    else:
        model.save_pretrained(folder, max_shard_size="24KB")
    path = os.path.join(folder, "config.json")
    config = json.load(open(path))
    if name == "b":  # the older style
        rope = config.pop("rope_parameters")
        config["rope_theta"] = rope.pop("rope_theta")
        config["rope_scaling"] = rope
        config["torch_dtype"] = config.pop("dtype")
        json.dump(config, open(path, "w"), indent=2)
    gen = os.path.join(folder, "generation_config.json")
    if os.path.exists(gen):
        os.remove(gen)


def write_gguf(model):
    """model_b as llama.cpp lays it out: rows of q and k paired, the frequencies' factors as a tensor."""
    config, hd = model.config, model.config.head_dim
    w = gguf.GGUFWriter(os.path.join(HERE, "model_b.gguf"), "llama")
    w.add_embedding_length(D)
    w.add_feed_forward_length(config.intermediate_size)
    w.add_block_count(config.num_hidden_layers)
    w.add_head_count(config.num_attention_heads)
    w.add_head_count_kv(config.num_key_value_heads)
    w.add_key_length(hd)
    w.add_value_length(hd)
    w.add_rope_dimension_count(hd)
    w.add_context_length(config.max_position_embeddings)
    w.add_layer_norm_rms_eps(config.rms_norm_eps)
    w.add_rope_freq_base(100.0)
    plain = 1 / 100.0 ** (torch.arange(0, hd, 2).float() / hd)
    w.add_tensor("rope_freqs.weight", (plain / model.model.rotary_emb.inv_freq.float()).numpy())
    names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
             "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
             "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
             "post_attention_layernorm": "ffn_norm"}
    ends = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
            "lm_head.weight": "output.weight"}
    for key, value in model.state_dict().items():
        value = value.float()
        if key in ends:
            name = ends[key]
        else:
            layer, rest = key[len("model.layers."):-len(".weight")].split(".", 1)
            name = "blk.%s.%s.weight" % (layer, names[rest])
            if rest.endswith(("q_proj", "k_proj")):
                value = value.reshape(-1, 2, hd // 2, D).swapaxes(1, 2).reshape(value.shape)
        if value.dim() == 1:
            w.add_tensor(name, value.numpy())
        else:
            bits = value.bfloat16().contiguous().view(torch.uint8).numpy()
            w.add_tensor(name, bits, raw_dtype=gguf.GGMLQuantizationType.BF16)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def conversations():
    """Sequences of a tree: (tokens, length of the prompt, user row or -1)."""
    out = []
    for user in (0, 2, -1):
        part = lambda n: torch.randint(3, VOCAB, (n,)).tolist()
        p, c1, r1, p2, c2, r2 = [1] + part(5), part(4), part(3), part(3), part(4), part(5)
        for prompt, answer in ((p, c1), (p, r1), (p + c1 + p2, c2), (p + c1 + p2, r2)):
            out.append((prompt + answer, len(prompt), user))
    return out


def logps(model, table, seqs, soft_of):
    """Of every answer token, sequence by sequence; soft tokens stand after the first token."""
    out = []
    for tokens, n_prompt, user in seqs:
        x = table[torch.tensor(tokens)]
        n_soft = 0
        if soft_of and user >= 0:
            e = soft_of(user)
            n_soft = e.shape[0]
            x = torch.cat([x[:1], e, x[1:]])
        logits = model(inputs_embeds=x[None]).logits[0].double()
        lp = torch.log_softmax(logits, -1)
        for t in range(n_prompt, len(tokens)):
            out.append(lp[t + n_soft - 1, tokens[t]])
    return torch.stack(out)


def prefix(model, mark):
    return {k: v for k, v in model.items() if k.startswith(mark)}


def case(name):
    out = {}
    model = make(name)
    write_model(model, name)
    if name == "b":
        write_gguf(model)
    model = model.double()
    seqs = conversations()
    out["tokens"] = torch.tensor([t for s in seqs for t in s[0]])
    out["lengths"] = torch.tensor([len(s[0]) for s in seqs])
    out["prompts"] = torch.tensor([s[1] for s in seqs])
    out["users"] = torch.tensor([s[2] for s in seqs])
    table = model.model.embed_tokens.weight
    n_targets = sum(len(s[0]) - s[1] for s in seqs)
    g = torch.randn(n_targets).float().double()
    out["g"] = g

    # full fine-tuning, which is also the reference: no adapters, no soft tokens
    lp = logps(model, table, seqs, None)
    out["base.logp"] = lp.detach()
    model.zero_grad()
    (lp * g).sum().backward()
    for key, value in model.named_parameters():
        out["base.grad." + key] = value.grad.clone()

    # adapters and soft tokens
    targets = ["q_proj", "v_proj", "up_proj", "down_proj"] if name == "a" else ALL
    peft = get_peft_model(model, LoraConfig(r=R, lora_alpha=ALPHA, lora_dropout=0.0, target_modules=targets,
                                            task_type="CAUSAL_LM"))
    trainable = {}
    for key, value in peft.named_parameters():
        if "lora_" in key:
            parts = key.split(".")
            layer, linear = parts[parts.index("layers") + 1], parts[parts.index("lora_A" if "lora_A" in key
                                                                                else "lora_B") - 1]
            value.data = (0.3 * torch.randn(value.shape)).double()
            trainable["lora.%s.%s.%s" % (layer, linear, "A" if "lora_A" in key else "B")] = value
    rand = lambda *shape: (0.3 * torch.randn(*shape)).double().requires_grad_()
    if name == "a":
        user = {"user.bank": rand(BANK, T_SOFT, D), "user.weights": rand(USERS, BANK)}
        soft = lambda u: torch.einsum("k,ktd->td", torch.softmax(user["user.weights"][u], 0),
                                      user["user.bank"])
    else:
        user = {"user.generic": rand(T_SOFT, D), "user.offsets": rand(USERS, T_SOFT, D)}
        user["user.offsets"].data[0] = 0
        soft = lambda u: user["user.generic"] + (user["user.offsets"][u] if u > 0 else 0)
    trainable.update(user)
    lp = logps(peft, table.detach(), seqs, soft)
    (lp * g).sum().backward()
    out["logp"] = lp.detach()
    for key, value in trainable.items():
        out["param." + key] = value.detach()
        out["grad." + key] = value.grad
    out = {k: v.detach().float().contiguous() for k, v in out.items()}
    save_file(out, os.path.join(HERE, "model_%s.case.safetensors" % name))
    print(name, "targets", n_targets, "loss", float((lp * g).sum()), "tensors", len(out))


if __name__ == "__main__":
    torch.set_default_dtype(torch.float32)
    case("a")
    case("b")
