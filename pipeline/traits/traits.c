/* traits.c - a file of answers scored by all ranks, which take groups of blocks in turn. First
 * every rank reads and counts its blocks; then the reference arm's moments are added block by block
 * in the file's order, so that their bits do not depend on who counted; then, in rounds of a group
 * a rank, lines go to rank 0, which writes them in the file's order. */
#include "traits_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

enum { N_MOMENTS = PX_TRAITS * PX_FEATURES_MAX };

typedef struct {
    const px_ranks *ranks;
    const px_lists *lists;
    const px_traits_job *job;
    px_blocks blocks;
    px_reader reader;
    px_records records;
    int64_t *block_start, n_mine; /* [n_mine + 1] into records */
    int64_t group;                /* blocks */
    int16_t *arm_of;              /* this rank's number of an arm → everybody's */
    const char **arms;            /* [n_arms], in arm_text */
    char *arm_text;
    int n_arms, reference; /* -1: none */
    int64_t n_reference;
    px_norms norms;
    px_file_out out; /* rank 0: opened first, so that a place that cannot be written is known */
    px_lines *judge; /* rank 0: NULL where no judge was asked */
    px_row *rows;    /* rank 0: every answer's */
    int64_t n_rows, room_rows;
} traits_run;

/* --- reading --- */

/* Groups are large where there is much, so that ranks seldom wait for one another: at most 64
 * blocks (16 MiB), at least eight groups a rank. */
static void groups_make(traits_run *run) {
    const px_ranks *ranks = run->ranks;
    int64_t n = run->blocks.n, g = PX_MIN(PX_MAX(n / (ranks->size * 8), 1), 64);
    run->group = g;
    for (int64_t k = ranks->rank; k * g < n; k += ranks->size) run->n_mine += PX_MIN(g, n - k * g);
}

/* The file's number of this rank's block i. */
static int64_t block_of(const traits_run *run, int64_t i) {
    int64_t turn = i / run->group * run->ranks->size + run->ranks->rank;
    return turn * run->group + i % run->group;
}

static px_err *line_read(void *context, const char *line, size_t size, size_t offset) {
    traits_run *run = context;
    run->reader.offset = (int64_t)offset;
    PX_TRY(px_record_read(&run->reader, line, size, &run->records), "%s line %lld",
           run->blocks.path, (long long)px_blocks_line(&run->blocks, offset));
    return NULL;
}

static px_err *blocks_read(traits_run *run) {
    const px_ranks *ranks = run->ranks;
    px_progress progress;
    PX_PASS(px_fault(ranks, "traits"));
    groups_make(run);
    run->block_start = calloc((size_t)run->n_mine + 1, sizeof *run->block_start);
    if (!run->block_start) PX_NO_MEMORY();
    px_progress_begin(&progress, "traits", run->n_mine, 0);
    for (int64_t i = 0; i < run->n_mine; i++) {
        PX_PASS(px_blocks_lines(&run->blocks, block_of(run, i), line_read, run));
        run->block_start[i + 1] = run->records.n;
        px_progress_at(&progress, i + 1, "%lld answers", (long long)run->records.n);
    }
    px_progress_end(&progress, run->n_mine, "%lld answers", (long long)run->records.n);
    return NULL;
}

/* --- arms --- */

typedef struct {
    int64_t first;
    const char *name;
} arm_at;

static int by_first(const void *a, const void *b) {
    const arm_at *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

/* Rank 0: from every rank's "offset name NUL" to the names in the order they come in the file. */
static px_err *arms_merge(const px_bytes *all, px_str *out) {
    size_t n = 0, room = all->size / (sizeof(int64_t) + 1) + 1;
    arm_at *arms = calloc(room, sizeof *arms);
    px_map seen = {0};
    px_err *err = NULL;
    if (!arms) PX_NO_MEMORY();
    for (size_t at = 0; at < all->size;) {
        memcpy(&arms[n].first, all->data + at, sizeof arms[n].first);
        arms[n].name = all->data + at + sizeof(int64_t);
        at += sizeof(int64_t) + strlen(arms[n++].name) + 1;
    }
    qsort(arms, n, sizeof *arms, by_first);
    for (size_t i = 0; i < n; i++) {
        size_t size = strlen(arms[i].name);
        if (px_map_find(&seen, arms[i].name, size, 0)) continue;
        PX_PASS_TO(done, px_map_set(&seen, arms[i].name, size, 1));
        px_str_add(out, arms[i].name, size + 1);
    }
    err = px_str_ok(out);
done:
    px_map_free(&seen);
    free(arms);
    return err;
}

static px_err *arms_index(traits_run *run, size_t size) {
    const px_arms *mine = &run->reader.arms;
    for (size_t at = 0; at < size; at += strlen(run->arm_text + at) + 1) run->n_arms++;
    run->arms = calloc((size_t)run->n_arms + 1, sizeof *run->arms);
    run->arm_of = calloc((size_t)mine->n + 1, sizeof *run->arm_of);
    if (!run->arms || !run->arm_of) PX_NO_MEMORY();
    int n = 0;
    run->reference = -1;
    for (size_t at = 0; at < size; at += strlen(run->arm_text + at) + 1) {
        const char *name = run->arm_text + at;
        int32_t i = px_map_find(&mine->numbers, name, strlen(name), -1);
        if (i >= 0) run->arm_of[i] = (int16_t)n;
        if (!strcmp(name, run->job->reference)) run->reference = n;
        run->arms[n++] = name;
    }
    if (run->reference < 0 && run->job->reference_asked && strcmp(run->job->reference, "none") != 0)
        PX_FAIL(PX_BAD_INPUT, "--reference %s: no answer of the file has this arm",
                run->job->reference);
    return NULL;
}

/* Collective. Everybody learns the names in the order they come in the file. */
static px_err *arms_agree_all(traits_run *run) {
    const px_arms *mine = &run->reader.arms;
    px_str packed = {0}, merged = {0};
    px_bytes all = {0};
    px_err *err = NULL;
    int64_t *sizes = calloc((size_t)run->ranks->size, sizeof *sizes);
    for (int i = 0; i < mine->n; i++) {
        px_str_add(&packed, (const char *)&mine->first[i], sizeof mine->first[i]);
        px_str_add(&packed, mine->names[i], strlen(mine->names[i]) + 1);
    }
    if (!sizes) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    if (!err) err = px_str_ok(&packed);
    PX_PASS_TO(done, px_agree_all(run->ranks, err));
    PX_PASS_TO(done, px_gather_bytes_all(run->ranks, packed.data, packed.size, &all, sizes));
    if (run->ranks->rank == 0) err = arms_merge(&all, &merged);
    PX_PASS_TO(done, px_agree_all(run->ranks, err));
    int64_t size = (int64_t)merged.size;
    px_bcast_all(run->ranks, &size, sizeof size, 0);
    run->arm_text = calloc((size_t)size + 1, 1);
    if (run->arm_text && merged.size) memcpy(run->arm_text, merged.data, merged.size);
    err = run->arm_text ? NULL : px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    PX_PASS_TO(done, px_agree_all(run->ranks, err));
    px_bcast_all(run->ranks, run->arm_text, (size_t)size, 0);
    err = px_agree_all(run->ranks, arms_index(run, (size_t)size));
done:
    px_str_free(&packed);
    px_str_free(&merged);
    px_bytes_free(&all);
    free(sizes);
    return err;
}

/* --- moments of the reference arm --- */

typedef struct {
    int64_t block, n;
    double sum[N_MOMENTS];
} block_sums;

static bool is_reference(const traits_run *run, const px_record *record) {
    return record->reading.left_out == PX_SCORED && run->arm_of[record->arm] == run->reference;
}

/* Sums over a block of f, or of (f - mean)² where a mean is given. */
static void block_sum(const traits_run *run, int64_t i, const px_norms *about, block_sums *out) {
    *out = (block_sums){.block = block_of(run, i)};
    for (int64_t r = run->block_start[i]; r < run->block_start[i + 1]; r++) {
        const px_record *record = &run->records.at[r];
        if (!is_reference(run, record)) continue;
        out->n++;
        for (int t = 0; t < PX_TRAITS; t++)
            for (int k = 0; k < run->lists->n[t]; k++) {
                double f = px_reading_value(run->lists, &record->reading, (px_list_id)t, k);
                double d = about ? f - about->mean[t][k] : 0;
                out->sum[t * PX_FEATURES_MAX + k] += about ? d * d : f;
            }
    }
}

static int by_block(const void *a, const void *b) {
    const block_sums *x = a, *y = b;
    return (x->block > y->block) - (x->block < y->block);
}

/* Collective. Rank 0 gets the sums over all blocks, added in the file's order. */
static px_err *sums_all(const traits_run *run, const px_norms *about, block_sums *total) {
    block_sums *mine = calloc((size_t)run->n_mine + 1, sizeof *mine);
    int64_t *sizes = calloc((size_t)run->ranks->size, sizeof *sizes);
    px_bytes all = {0};
    px_err *err = NULL;
    *total = (block_sums){0};
    if (!mine || !sizes) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    for (int64_t i = 0; !err && i < run->n_mine; i++) block_sum(run, i, about, &mine[i]);
    PX_PASS_TO(done, px_agree_all(run->ranks, err));
    PX_PASS_TO(done, px_gather_bytes_all(run->ranks, mine, (size_t)run->n_mine * sizeof *mine, &all,
                                         sizes));
    size_t n = all.size / sizeof *mine;
    block_sums *blocks = (block_sums *)(void *)all.data;
    if (n) qsort(blocks, n, sizeof *blocks, by_block);
    for (size_t b = 0; b < n; b++) {
        total->n += blocks[b].n;
        for (int k = 0; k < N_MOMENTS; k++) total->sum[k] += blocks[b].sum[k];
    }
done:
    free(mine);
    free(sizes);
    px_bytes_free(&all);
    return err;
}

/* Collective. z by the reference arm, or by the lists' constants where it has not two answers. */
static px_err *norms_all(traits_run *run) {
    block_sums total;
    px_lists_norms(run->lists, &run->norms);
    if (run->reference < 0) return NULL;
    PX_PASS(sums_all(run, NULL, &total));
    px_bcast_all(run->ranks, &total, sizeof total, 0);
    run->n_reference = total.n;
    if (total.n < 2) return NULL;
    for (int k = 0; k < N_MOMENTS; k++)
        run->norms.mean[k / PX_FEATURES_MAX][k % PX_FEATURES_MAX] = total.sum[k] / (double)total.n;
    PX_PASS(sums_all(run, &run->norms, &total));
    px_bcast_all(run->ranks, &total, sizeof total, 0);
    for (int k = 0; k < N_MOMENTS; k++)
        run->norms.sd[k / PX_FEATURES_MAX][k % PX_FEATURES_MAX] =
            sqrt(total.sum[k] / (double)total.n);
    px_norms_complete(run->lists, &run->norms);
    return NULL;
}

/* --- writing --- */

static uint64_t hash_of(const char *text) { return text ? px_word_hash(text, strlen(text)) : 0; }

static void block_write(const traits_run *run, int64_t i, px_str *text, px_str *rows) {
    for (int64_t r = run->block_start[i]; r < run->block_start[i + 1]; r++) {
        const px_record *record = &run->records.at[r];
        const px_reading *reading = &record->reading;
        int16_t arm = run->arm_of[record->arm];
        px_row row = {.arm = arm, .left_out = (int16_t)reading->left_out, .words = reading->words};
        row.user = hash_of(record->user);
        row.prompt = hash_of(record->id);
        row.domain = hash_of(record->domain);
        for (int t = 0; t < PX_TRAITS; t++)
            row.score[t] = px_reading_score(run->lists, &run->norms, reading, (px_list_id)t);
        for (int t = 0; t < 2; t++)
            row.rate_first[t] = px_reading_rate(reading, (px_list_id)t, true);
        px_record_write(run->lists, &run->norms, record, run->arms[arm], text);
        px_str_add(rows, (const char *)&row, sizeof row);
    }
}

static px_err *rows_keep(traits_run *run, const px_bytes *rows) {
    int64_t n = (int64_t)(rows->size / sizeof(px_row));
    if (run->n_rows + n > run->room_rows) {
        int64_t room = PX_MAX(run->n_rows + n, run->room_rows * 2);
        px_row *at = realloc(run->rows, (size_t)room * sizeof *at);
        if (!at) PX_NO_MEMORY();
        run->rows = at;
        run->room_rows = room;
    }
    if (n) memcpy(run->rows + run->n_rows, rows->data, (size_t)n * sizeof(px_row));
    run->n_rows += n;
    return NULL;
}

/* The judge's next line without id, arm and sample, as the last key of an answer's line. */
static px_err *judge_take(traits_run *run, const cJSON *answer, px_str *out) {
    const char *text = NULL, *id = px_json_find_text(answer, "id");
    size_t size = 0;
    int64_t line = 0;
    cJSON *json = NULL;
    PX_PASS(px_lines_next(run->judge, &text, &size, &line));
    if (!text) PX_FAIL(PX_BAD_INPUT, "%s: has fewer lines than answers", run->job->judge);
    PX_TRY(px_json_parse(text, size, &json), "%s line %lld", run->job->judge, (long long)line);
    const char *judged = px_json_find_text(json, "id");
    px_err *err = NULL;
    if (!id || !judged || strcmp(id, judged) != 0)
        err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__, "%s line %lld: is of another answer",
                         run->job->judge, (long long)line);
    cJSON_DeleteItemFromObjectCaseSensitive(json, "id");
    cJSON_DeleteItemFromObjectCaseSensitive(json, "arm");
    cJSON_DeleteItemFromObjectCaseSensitive(json, "sample");
    px_str_text(out, ",\"judge\":");
    px_json_print(json, out);
    px_str_text(out, "}\n");
    cJSON_Delete(json);
    return err ? err : px_str_ok(out);
}

/* Rank 0: whole lines, in the file's order; px_file_out_commit looks at ferror. */
static px_err *lines_write(traits_run *run, const px_bytes *all) {
    px_str line = {0};
    px_err *err = NULL;
    if (!run->judge) {
        fwrite(all->data, 1, all->size, run->out.stream);
        return NULL;
    }
    for (size_t at = 0, end; !err && at < all->size; at = end) {
        cJSON *json = NULL;
        const char *stop = memchr(all->data + at, '\n', all->size - at);
        end = stop ? (size_t)(stop - all->data) + 1 : all->size;
        px_str_clear(&line);
        px_str_add(&line, all->data + at, end - at - 2); /* without brace and newline */
        err = px_json_parse(all->data + at, end - at, &json);
        if (!err) err = judge_take(run, json, &line);
        cJSON_Delete(json);
        if (!err) fwrite(line.data, 1, line.size, run->out.stream);
    }
    px_str_free(&line);
    return err;
}

/* Collective. One group a rank goes to rank 0, in the file's order. */
static px_err *round_all(traits_run *run, int64_t turn, px_str *text, px_str *rows,
                         int64_t *sizes) {
    px_bytes all = {0}, all_rows = {0};
    px_err *err = NULL;
    px_str_clear(text);
    px_str_clear(rows);
    for (int64_t i = turn * run->group; i < PX_MIN((turn + 1) * run->group, run->n_mine); i++)
        block_write(run, i, text, rows);
    err = px_str_ok(text);
    if (!err) err = px_str_ok(rows);
    PX_PASS_TO(done, px_agree_all(run->ranks, err));
    PX_PASS_TO(done, px_gather_bytes_all(run->ranks, text->data, text->size, &all, sizes));
    PX_PASS_TO(done, px_gather_bytes_all(run->ranks, rows->data, rows->size, &all_rows, sizes));
    if (run->ranks->rank == 0) {
        err = lines_write(run, &all);
        if (!err) err = rows_keep(run, &all_rows);
    }
done:
    px_bytes_free(&all);
    px_bytes_free(&all_rows);
    return err;
}

/* Collective. */
static px_err *write_all(traits_run *run) {
    px_str text = {0}, rows = {0};
    int64_t *sizes = calloc((size_t)run->ranks->size, sizeof *sizes);
    px_err *err = NULL;
    int64_t per_turn = run->group * run->ranks->size;
    int64_t rounds = (run->blocks.n + per_turn - 1) / per_turn;
    if (!sizes) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    PX_PASS_TO(done, px_agree_all(run->ranks, err));
    for (int64_t i = 0; i < rounds; i++) {
        err = round_all(run, i, &text, &rows, sizes);
        PX_PASS_TO(done, px_agree_all(run->ranks, err));
    }
    if (run->ranks->rank == 0) err = px_file_out_commit(&run->out);
    err = px_agree_all(run->ranks, err);
done:
    px_str_free(&text);
    px_str_free(&rows);
    free(sizes);
    return err;
}

static px_err *summarise(const traits_run *run, FILE *table) {
    px_panel panel = {0};
    px_summary summary = {.lists = run->lists,
                          .job = run->job,
                          .norms = &run->norms,
                          .panel = &panel,
                          .arms = run->arms,
                          .fixed = run->reference < 0 || run->n_reference < 2,
                          .n_reference = run->n_reference,
                          .samples = run->job->bootstrap};
    px_err *err = px_panel_new(run->rows, run->n_rows, run->n_arms, run->reference, &panel);
    if (!err) err = px_summary_print(&summary, table);
    px_panel_free(&panel);
    return err;
}

px_err *px_traits_all(const px_ranks *ranks, const px_lists *lists, const px_traits_job *job,
                      FILE *table) {
    traits_run run = {.ranks = ranks, .lists = lists, .job = job};
    const char *path = job->trials ? job->trials : job->answers;
    px_err *err = px_reader_new(lists, job->trials != NULL, &run.reader);
    if (!err) err = px_blocks_open(path, &run.blocks);
    if (!err && ranks->rank == 0) err = px_file_out_open(job->out, &run.out);
    if (!err && ranks->rank == 0 && job->judge) err = px_lines_open(job->judge, &run.judge);
    PX_PASS_TO(done, px_agree_all(ranks, err));
    PX_PASS_TO(done, px_agree_all(ranks, blocks_read(&run)));
    PX_PASS_TO(done, arms_agree_all(&run));
    PX_PASS_TO(done, norms_all(&run));
    PX_PASS_TO(done, write_all(&run));
    err = px_agree_all(ranks, ranks->rank == 0 ? summarise(&run, table) : NULL);
done:
    px_lines_close(run.judge);
    px_file_out_drop(&run.out);
    px_blocks_close(&run.blocks);
    px_reader_free(&run.reader);
    free(run.records.at);
    free(run.block_start);
    free(run.arm_of);
    free(run.arms);
    free(run.arm_text);
    free(run.rows);
    return err;
}
