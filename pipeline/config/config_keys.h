/* config_keys.h - the table of keys: KEY(path, type, field, default, min or 0, max or choices,
 * affects, help); an object is kept as compact JSON, "" for none. `affects`: R when a value changes
 * results (a resumed run must have the same), else N. f64s: the default is a list in parentheses;
 * min is of each value, which stays below 1; max is how many values there must be. A new key is one
 * line here; docs/config.md is printed from it (PX_UPDATE=1 tests/unit/test_config). */
#ifndef PX_CONFIG_KEYS_H
#define PX_CONFIG_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#define PX_LORA_TARGETS "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj"
/* Order of the choices = order of the enums below. */
typedef enum { PX_USER_NONE, PX_USER_BANK, PX_USER_INDIVIDUAL } px_user_kind;
typedef enum { PX_MIX_SOFTMAX, PX_MIX_LINEAR } px_mixing;
typedef enum { PX_INIT_ZERO, PX_INIT_REFERENCE } px_user_init;
typedef enum { PX_LOSS_SIGMOID, PX_LOSS_IPO, PX_LOSS_HINGE, PX_LOSS_ROBUST } px_loss_kind;
typedef enum {
    PX_PRECISION_BF16,
    PX_PRECISION_F32,
    PX_PRECISION_Q8_0,
    PX_PRECISION_Q4_1
} px_precision;
typedef enum { PX_DEVICE_CPU, PX_DEVICE_CUDA, PX_DEVICE_SIMT } px_device;
typedef enum { PX_SCHEDULE_COSINE, PX_SCHEDULE_LINEAR, PX_SCHEDULE_CONSTANT } px_schedule_kind;
typedef enum { PX_UNIT_CONVERSATION, PX_UNIT_TURN, PX_UNIT_PAIR } px_unit_kind;
typedef enum { PX_WEIGHT_PAIR, PX_WEIGHT_TURN } px_pair_weight;
typedef enum { PX_REDUCE_EXACT, PX_REDUCE_FAST, PX_REDUCE_FAST_BF16 } px_reduce_kind;
typedef enum { PX_SIM_JUDGE, PX_SIM_CONVERSE } px_sim_condition;
typedef enum { PX_SIM_LOCAL, PX_SIM_HTTP } px_sim_player;
#define PX_SIM_DOMAINS "unguided values controversy wellbeing"

/* clang-format off */
#define PX_KEYS(KEY)                                                                                              \
    KEY("data.max_prompt_tokens", i64, data_max_prompt_tokens, 470, 1, 10000000, R, "pairs with a longer prompt are left out and counted") \
    KEY("data.max_tokens", i64, data_max_tokens, 770, 2, 10000000, R, "pairs whose longer side (prompt and response) has more tokens are left out and counted") \
    KEY("data.min_margin", i64, data_min_margin, 0, 0, 100, R, "pairs whose scores differ by less are left out and counted; 0 keeps all") \
    KEY("data.split.unseen_users", f64, data_split_unseen_users, 0.10, 0, 1, R, "share of people kept for the unseen split") \
    KEY("data.split.seen_test", f64, data_split_seen_test, 0.10, 0, 1, R, "share of the other people's conversations kept for the seen test split") \
    KEY("data.split.seed", i64, data_split_seed, 123, 0, INT64_MAX, R, "seed of the splits") \
    KEY("data.balanced_only", bool, data_balanced_only, false, 0, 0, R, "only conversations of PRISM's balanced subset") \
    KEY("data.english_only", bool, data_english_only, false, 0, 0, R, "only conversations whose texts metadata.jsonl flags as English") \
    KEY("data.strict", bool, data_strict, false, 0, 0, R, "anything left out for being broken is an error") \
    KEY("model.path", text, model_path, "", 0, 0, N, "Hugging Face folder or GGUF file") \
    KEY("model.template", choice, model_template, 0, 0, "auto chatml llama2 llama3 zephyr mistral", R, "chat template; auto: the model's own") \
    KEY("precision", choice, precision, PX_PRECISION_BF16, 0, "bf16 f32 q8_0 q4_1", R, "of the frozen base model and activations; q8_0 and q4_1: the layers' weights in 8 or 4 bits, activations in bf16") \
    KEY("device", choice, device, PX_DEVICE_CPU, 0, "cpu cuda simt", R, "what computes: cuda: a GPU a rank, in a build for them (docs/cuda.md); simt: a GPU's kernels on the CPU, slowly, in a build with tests") \
    KEY("full_finetune", bool, full_finetune, false, 0, 0, R, "train every weight of the base model (lora.r must be 0)") \
    KEY("lora.r", i64, lora_r, 8, 0, 1024, R, "rank of the adapters; 0 trains none") \
    KEY("lora.alpha", f64, lora_alpha, 16, 0, 1e6, R, "adapters are scaled by alpha / r") \
    KEY("lora.dropout", f64, lora_dropout, 0.05, 0, 0.99, R, "dropout of the adapters' input while training") \
    KEY("lora.targets", words, lora_targets, 0x7F, 0, PX_LORA_TARGETS, R, "linear layers that get an adapter") \
    KEY("user.model", choice, user_model, PX_USER_NONE, 0, "none bank individual", R, "none: pooled DPO; bank: e_u = V a_u; individual: e_u = e_0 + o_u") \
    KEY("user.tokens", i64, user_tokens, 10, 1, 1024, R, "soft tokens a person, T_u") \
    KEY("user.bank", i64, user_bank, 10, 1, 4096, R, "size K of the shared bank") \
    KEY("user.mixing", choice, user_mixing, PX_MIX_SOFTMAX, 0, "softmax linear", R, "a_u = softmax(w_u) or w_u") \
    KEY("user.init", choice, user_init, PX_INIT_ZERO, 0, "zero reference", R, "zero: w and o start at 0; reference: as the P-RLHF code") \
    KEY("loss.type", choice, loss_type, PX_LOSS_SIGMOID, 0, "sigmoid ipo hinge robust", R, "preference loss") \
    KEY("loss.alpha", f64, loss_alpha, 0.5, 0, 1, R, "weight of the user term; 1 - alpha of the generic term") \
    KEY("loss.beta", f64, loss_beta, 0.5, 1e-6, 1e3, R, "strength of the tie to the reference model") \
    KEY("loss.label_smoothing", f64, loss_label_smoothing, 0, 0, 0.4999, R, "chance that a label is wrong (sigmoid, robust)") \
    KEY("train.recompute", bool, train_recompute, false, 0, 0, N, "layers keep their input alone and are computed again in the backward pass: less memory, a third more time, the same bits") \
    KEY("train.recompute_layers", i64, train_recompute_layers, 0, 0, 100000, N, "how many layers train.recompute is for, from the lowest; 0: all") \
    KEY("train.length_normalised", bool, train_length_normalised, false, 0, 0, R, "log-probabilities divided by the number of response tokens") \
    KEY("optim.lr", f64, optim_lr, 5e-5, 0, 10, R, "peak learning rate, reached after warm-up") \
    KEY("optim.user_lr", f64, optim_user_lr, 0, 0, 10, R, "rate of user parameters; 0: as optim.lr") \
    KEY("optim.betas", f64s, optim_betas, (0.9, 0.999), 0, 2, R, "AdamW's two decay rates") \
    KEY("optim.eps", f64, optim_eps, 1e-8, 0, 1, R, "AdamW's epsilon") \
    KEY("optim.weight_decay", f64, optim_weight_decay, 0, 0, 10, R, "decoupled weight decay") \
    KEY("optim.schedule", choice, optim_schedule, PX_SCHEDULE_COSINE, 0, "cosine linear constant", R, "of the rate after warm-up") \
    KEY("optim.warmup_steps", i64, optim_warmup_steps, 150, 0, INT64_MAX, R, "steps of linear warm-up") \
    KEY("optim.max_grad_norm", f64, optim_max_grad_norm, 1.0, 0, 1e9, R, "gradients are scaled down to this norm; 0: off") \
    KEY("batch.unit", choice, batch_unit, PX_UNIT_CONVERSATION, 0, "conversation turn pair", R, "what a batch is made of") \
    KEY("batch.pairs", i64, batch_pairs, 32, 1, INT64_MAX, R, "least number of pairs a step") \
    KEY("batch.pair_weight", choice, batch_pair_weight, PX_WEIGHT_PAIR, 0, "pair turn", R, "each pair counts once, or each judgement (1 / pairs of its turn)") \
    KEY("batch.slot_tokens", i64, batch_slot_tokens, 2048, 1, 10000000, R, "tokens computed at a time; gradients do not depend on ranks, memory depends on this") \
    KEY("train.epochs", i64, train_epochs, 1, 1, 1000000, R, "passes over the training pairs") \
    KEY("train.steps", i64, train_steps, 0, 0, INT64_MAX, R, "stops after so many steps; 0: no limit") \
    KEY("eval.every", i64, eval_every, 0, 0, INT64_MAX, N, "held-out evaluation every so many steps while training; 0: none") \
    KEY("eval.pairs", i64, eval_pairs, 200, 1, INT64_MAX, N, "pairs of the seen test split used for it") \
    KEY("eval.bootstrap", i64, eval_bootstrap, 2000, 0, 1000000, N, "bootstrap samples of people for intervals") \
    KEY("checkpoint.every", i64, checkpoint_every, 50, 0, INT64_MAX, N, "steps between checkpoints; 0: only the last") \
    KEY("checkpoint.keep", i64, checkpoint_keep, 2, 1, 1000000, N, "newest checkpoints kept") \
    KEY("checkpoint.initial", bool, checkpoint_initial, false, 0, 0, N, "also one before the first step") \
    KEY("generate.max_new_tokens", i64, generate_max_new_tokens, 512, 1, 10000000, N, "an answer ends here at the latest") \
    KEY("generate.min_new_tokens", i64, generate_min_new_tokens, 0, 0, 10000000, N, "no answer ends before") \
    KEY("generate.temperature", f64, generate_temperature, 0.6, 0, 100, N, "0: greedy") \
    KEY("generate.top_k", i64, generate_top_k, 0, 0, 10000000, N, "only the k likeliest tokens; 0: off") \
    KEY("generate.top_p", f64, generate_top_p, 0.9, 1e-6, 1, N, "only the likeliest tokens that together reach this probability; 1: off") \
    KEY("generate.min_p", f64, generate_min_p, 0, 0, 1, N, "only tokens at least this share as likely as the likeliest; 0: off") \
    KEY("generate.repetition_penalty", f64, generate_repetition_penalty, 1, 1e-3, 100, N, "divides positive and multiplies negative logits of ids that stand in prompt or answer; 1: off") \
    KEY("generate.no_repeat_ngram", i64, generate_no_repeat_ngram, 0, 0, 1000, N, "no n-gram twice in prompt and answer; 0: off") \
    KEY("generate.ignore_eos", bool, generate_ignore_eos, false, 0, 0, N, "answers go on behind the end of a turn, up to their longest") \
    KEY("generate.n", i64, generate_n, 1, 1, 100000, N, "answers a prompt") \
    KEY("generate.logprobs", i64, generate_logprobs, 0, 0, 100, N, "so many best alternatives with each token") \
    KEY("generate.batch", i64, generate_batch, 32, 1, 4096, N, "answers under way at once, per rank") \
    KEY("generate.cache_tokens", i64, generate_cache_tokens, 0, 0, 1000000000, N, "positions in the key-value cache of a rank; 0: 2048 an answer under way") \
    KEY("generate.graphs", bool, generate_graphs, true, 0, 0, N, "on a GPU, steps are replayed from CUDA graphs; the same bits") \
    KEY("sim.condition", choice, sim_condition, PX_SIM_CONVERSE, 0, "judge converse", N, "judge: simulated participants rank given transcripts; converse: they also write the messages and the arms answer") \
    KEY("sim.player", choice, sim_player, PX_SIM_LOCAL, 0, "local http", N, "who plays them: a model here, or sim.endpoint") \
    KEY("sim.model", text, sim_model, "", 0, 0, N, "model of a local player; empty: model.path") \
    KEY("sim.endpoint", object, sim_endpoint, "", 0, 0, N, "endpoint of an http player (docs/endpoints.md)") \
    KEY("sim.arms", text, sim_arms, "", 0, 0, N, "arms that answer (docs/generate.md): two to eight slots") \
    KEY("sim.data", text, sim_data, "", 0, 0, N, "PRISM folder: survey.jsonl says who the participants are") \
    KEY("sim.corpus", text, sim_corpus, "", 0, 0, N, "corpus.h5: who is seen and unseen; what summaries may draw on") \
    KEY("sim.prompts", text, sim_prompts, "", 0, 0, N, "folder of prompts.json and domains.json; empty: the installed configs/simulate") \
    KEY("sim.domains", words, sim_domains, 0xF, 0, PX_SIM_DOMAINS, N, "a trial of each of these a person") \
    KEY("sim.people", i64, sim_people, 0, 0, 100000000, N, "so many people, drawn by seed; 0: all") \
    KEY("sim.turns", i64, sim_turns, 5, 1, 100, N, "messages a participant writes at most") \
    KEY("sim.message_tokens", i64, sim_message_tokens, 120, 8, 100000, N, "tokens of a message at most") \
    KEY("sim.temperature", f64, sim_temperature, 1, 0, 100, N, "of messages; judgements are greedy") \
    KEY("sim.orders", i64, sim_orders, 1, 1, 4, N, "1, 2 or 4: the last judgement is asked so often, positions shifted; ranks are means") \
    KEY("sim.max_usd", f64, sim_max_usd, 0, 0, 1e9, N, "stops, resumably, before more is spent on endpoints; 0: no limit") \
    KEY("sim.cache", text, sim_cache, "", 0, 0, N, "folder of replies for endpoints that name none; empty: OUT.cache") \
    KEY("comm.reduce", choice, comm_reduce, PX_REDUCE_EXACT, 0, "exact fast fast_bf16", R, "exact: the same bits on any number of ranks; fast: f32 all-reduce; fast_bf16: bf16 all-reduce between GPUs") \
    KEY("comm.overlap", bool, comm_overlap, true, 0, 0, N, "between GPUs, gradients are summed while the last slot computes; the same bits") \
    KEY("comm.bucket_mb", f64, comm_bucket_mb, 32, 0.001, 4096, N, "between GPUs, gradients are summed so many MB at a time") \
    KEY("comm.timeout_s", f64, comm_timeout_s, 600, 0, 1e9, N, "a rank that makes no progress for so long ends the run; 0: never") \
    KEY("reference.cache", text, reference_cache, "", 0, 0, N, "folder for reference log-probabilities; empty: beside the corpus") \
    KEY("log.tensorboard", bool, log_tensorboard, false, 0, 0, N, "also TensorBoard event files") \
    KEY("threads", i64, threads, 0, 0, 4096, N, "per rank; 0: the cores of the machine shared out among its ranks") \
    KEY("seed", i64, seed, 123, 0, INT64_MAX, R, "of everything drawn while training")
/* clang-format on */

#endif
