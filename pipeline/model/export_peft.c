/* export_peft.c - the adapters as a folder that PEFT loads: adapter_config.json and
 * adapter_model.safetensors. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model_internal.h"

static px_err *config_write(const char *dir, const px_config *config, const char *base_path) {
    px_str text = {0};
    px_str_text(&text, "{\n  \"base_model_name_or_path\": ");
    px_str_json(&text, base_path, strlen(base_path));
    px_str_text(&text, ",\n  \"bias\": \"none\",\n  \"fan_in_fan_out\": false,\n"
                       "  \"inference_mode\": true,\n  \"init_lora_weights\": true,\n"
                       "  \"lora_alpha\": ");
    px_str_double(&text, config->lora_alpha);
    px_str_text(&text, ",\n  \"lora_dropout\": ");
    px_str_double(&text, config->lora_dropout);
    px_str_format(&text,
                  ",\n  \"modules_to_save\": null,\n  \"peft_type\": \"LORA\",\n  \"r\": %lld,\n"
                  "  \"target_modules\": [",
                  (long long)config->lora_r);
    for (int i = 0, n = 0; i < PX_N_LINEAR; i++)
        if (px_target_on(config, i))
            px_str_format(&text, "%s\"%s\"", n++ ? ", " : "", px_linear_names[i]);
    px_str_text(&text, "],\n  \"task_type\": \"CAUSAL_LM\",\n  \"use_dora\": false,\n"
                       "  \"use_rslora\": false\n}\n");
    px_err *err = px_text_write(dir, "adapter_config.json", &text);
    px_str_free(&text);
    return err;
}

static px_err *tensors_write(const char *path, const px_params *params, const px_config *config,
                             const px_shape *shape) {
    enum { NAME = 112 };
    static const char *const metadata[] = {"format", "pt", NULL};
    const size_t most = (size_t)(2 * PX_N_LINEAR * shape->n_layers);
    px_err *err = NULL;
    px_safetensors_item *items = calloc(most, sizeof *items);
    char(*names)[NAME] = calloc(most, sizeof *names);
    int n = 0;
    if (!items || !names) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    for (int64_t layer = 0; layer < shape->n_layers; layer++)
        for (int i = 0; i < 2 * PX_N_LINEAR; i++) {
            const int linear = i / 2;
            const char side = i % 2 ? 'B' : 'A';
            char own[64];
            if (!px_target_on(config, linear)) continue;
            snprintf(own, sizeof own, "lora.%lld.%s.%c", (long long)layer, px_linear_names[linear],
                     side);
            const px_param *p = px_params_find(params, own);
            if (!p) PX_FAIL_TO(done, PX_RUN_FAILED, "no parameter %s", own);
            snprintf(names[n], NAME, "base_model.model.model.layers.%lld.%s.%s.lora_%c.weight",
                     (long long)layer, px_linear_block(linear), px_linear_names[linear], side);
            items[n] = (px_safetensors_item){.name = names[n],
                                             .type = PX_T_F32,
                                             .rank = 2,
                                             .dims = {p->dims[0], p->dims[1]},
                                             .data = params->values + p->offset};
            n++;
        }
    err = px_safetensors_write(path, items, n, metadata);
done:
    free(names);
    free(items);
    return err;
}

px_err *px_export_peft(const char *dir, const px_params *params, const px_config *config,
                       const px_shape *shape, const char *base_path) {
    if (config->lora_r == 0 || config->lora_targets == 0)
        PX_FAIL(PX_BAD_INPUT, "no adapters were trained (lora.r is %lld): nothing for PEFT",
                (long long)config->lora_r);
    PX_PASS(px_dir_make(dir));
    char *path = px_path_join(dir, "adapter_model.safetensors");
    if (!path) PX_NO_MEMORY();
    px_err *err = tensors_write(path, params, config, shape);
    free(path);
    if (!err) err = config_write(dir, config, base_path);
    return err ? px_err_add(err, __FILE__, __LINE__, "adapter folder %s", dir) : NULL;
}
