/* cards.c - rates of a GPU: by its data sheet and what is assumed of it, or as measured. */
#include <string.h>

#include "plan.h"

/* What kernels reach of a data sheet's numbers. Assumptions until a card has been measured here,
 * from what others report: cuBLAS's large bf16 products 600 to 750 of an H100's 989 TFLOP/s;
 * attention by mma.sync, forward and backward, FlashAttention-2's 35 to 40 % of an H100, and less
 * backward (Shah et al. 2024, figures 5 and 6), less a third as these kernels are younger;
 * copies nine tenths of memory's and of links' bandwidth, NCCL's rings somewhat less. Launches:
 * some 2.5 us between kernels of a queue, the steps of a graph some 1.2 us (NVIDIA's blog on CUDA
 * graphs, 2019, and its successors). */
#define OF_PRODUCTS 0.7
#define OF_ATTENTION 0.25
#define OF_ATTENTION_BACK 0.2
#define OF_MEMORY 0.88
#define OF_HOST 0.8
#define OF_LINK 0.8
#define LAUNCH_S 2.5e-6
#define REPLAY_S 1.2e-6

/* NVIDIA's data sheets: dense FLOP/s in bf16 with sums in f32 and in f32 without tensor cores;
 * bytes a second of memory, of what leads to a neighbouring card and to the host, one way; bytes.
 */
static const struct {
    const char *name;
    const char *has;   /* in the name that a driver gives it … */
    const char * not ; /* … and what is not */
    double bf16, f32, memory, link, host, bytes;
} sheets[] = {
    {"h100", "H100", "PCIe|NVL", 989.4e12, 66.9e12, 3.35e12, 450e9, 64e9, 80e9},
    {"h100-pcie", "H100 PCIe", "", 756e12, 51.2e12, 2.0e12, 64e9, 64e9, 80e9},
    {"h100-nvl", "H100 NVL", "", 835e12, 60e12, 3.9e12, 300e9, 64e9, 94e9},
    {"h200", "H200", "NVL", 989.4e12, 66.9e12, 4.8e12, 450e9, 64e9, 141e9},
    {"a100", "A100-SXM4-80", "", 312e12, 19.5e12, 2.039e12, 300e9, 32e9, 80e9},
    {"a100-40g", "A100-SXM4-40", "", 312e12, 19.5e12, 1.555e12, 300e9, 32e9, 40e9},
    {"l40s", "L40S", "", 362e12, 91.6e12, 864e9, 32e9, 32e9, 48e9},
    {"l4", "NVIDIA L4", "L40", 121e12, 30.3e12, 300e9, 32e9, 32e9, 24e9},
    {"a10", "NVIDIA A10", "A100|A10G", 125e12, 31.2e12, 600e9, 32e9, 32e9, 24e9},
    {"rtx4090", "RTX 4090", "", 165.2e12, 82.6e12, 1008e9, 32e9, 32e9, 24e9},
    {"rtx3090", "RTX 3090", "", 71e12, 35.6e12, 936e9, 32e9, 32e9, 24e9},
};

static px_card_rates sheet_of(size_t i) {
    px_card_rates out = {.bf16_peak = sheets[i].bf16,
                         .bf16 = sheets[i].bf16 * OF_PRODUCTS,
                         .f32 = sheets[i].f32 * OF_PRODUCTS,
                         .attention = sheets[i].bf16 * OF_ATTENTION,
                         .attention_back = sheets[i].bf16 * OF_ATTENTION_BACK,
                         .memory = sheets[i].memory * OF_MEMORY,
                         .host = sheets[i].host * OF_HOST,
                         .link = sheets[i].link * OF_LINK,
                         .launch_s = LAUNCH_S,
                         .replay_s = REPLAY_S,
                         .bytes = sheets[i].bytes};
    snprintf(out.name, sizeof out.name, "%s", sheets[i].name);
    return out;
}

px_err *px_card_sheet(const char *name, px_card_rates *out) {
    px_str all = {0};
    for (size_t i = 0; i < PX_COUNT(sheets); i++) {
        px_str_format(&all, "%s%s", i ? ", " : "", sheets[i].name);
        if (strcmp(sheets[i].name, name) != 0) continue;
        px_str_free(&all);
        *out = sheet_of(i);
        return NULL;
    }
    px_err *err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__,
                             "--card %s: no data sheet of that name; there are: %s. prismx plan "
                             "--calibrate measures a card that is here",
                             name, all.data ? all.data : "");
    px_str_free(&all);
    return err;
}

static bool has_any(const char *text, const char *words) {
    char word[16];
    while (*words) {
        const size_t n = strcspn(words, "|");
        snprintf(word, sizeof word, "%.*s", (int)n, words);
        if (strstr(text, word)) return true;
        words += n + (words[n] == '|');
    }
    return false;
}

bool px_card_sheet_like(const char *driver_name, px_card_rates *out) {
    for (size_t i = 0; i < PX_COUNT(sheets); i++) {
        if (!strstr(driver_name, sheets[i].has) || has_any(driver_name, sheets[i].not )) continue;
        *out = sheet_of(i);
        return true;
    }
    return false;
}

bool px_card_known(const px_card_rates *card) { return card->memory > 0; }

const char *px_card_source(const px_card_rates *card, char out[160]) {
    if (!px_card_known(card))
        snprintf(out, 160,
                 "not predicted: --card NAME takes a data sheet's rates, plan "
                 "--calibrate measures a GPU that is here");
    else if (card->measured)
        snprintf(out, 160, "by rates measured on %s", card->name);
    else
        snprintf(out, 160, "by the data sheet of %s and assumed efficiencies, not measured",
                 card->name);
    return out;
}
