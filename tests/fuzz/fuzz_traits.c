/* fuzz_traits.c - an answer's bytes, and the same bytes as a line of answers and of trials: counts
 * stay within the text's words, and what is written for an answer is JSON. */
#include "fuzz.h"
#include "json.h"
#include "traits_internal.h"

#include <stdlib.h>

static px_lists *lists;

static void reading_check(const px_reading *reading) {
    PX_FUZZ_HOLDS(reading->words_first <= PX_FIRST_WORDS);
    PX_FUZZ_HOLDS(reading->words_first <= reading->words);
    for (int list = 0; list < PX_LISTS; list++) {
        uint64_t phrases = 0;
        for (int k = 0; k < px_lists_n(lists, (px_list_id)list); k++)
            if (lists->features[list][k].by == PX_BY_PHRASES)
                phrases += reading->hits[lists->at[list] + k];
        PX_FUZZ_HOLDS(phrases <= reading->words);
    }
    px_norms norms;
    px_lists_norms(lists, &norms);
    for (int t = 0; t < PX_TRAITS; t++) {
        double score = px_reading_score(lists, &norms, reading, (px_list_id)t);
        PX_FUZZ_HOLDS((score == score) == (reading->left_out == PX_SCORED));
    }
}

static void line_check(const char *line, size_t size, bool trials) {
    px_reader reader;
    px_records records = {0};
    px_norms norms;
    px_lists_norms(lists, &norms);
    PX_FUZZ_HOLDS(px_fuzz_opened(px_reader_new(lists, trials, &reader)));
    if (px_fuzz_opened(px_record_read(&reader, line, size, &records))) {
        for (int64_t i = 0; i < records.n; i++) {
            px_str out = {0};
            cJSON *json = NULL;
            const px_record *record = &records.at[i];
            reading_check(&record->reading);
            px_record_write(lists, &norms, record, reader.arms.names[record->arm], &out);
            PX_FUZZ_HOLDS(px_fuzz_opened(px_str_ok(&out)));
            PX_FUZZ_HOLDS(px_fuzz_opened(px_json_parse(out.data, out.size - 1, &json)));
            cJSON_Delete(json);
            px_str_free(&out);
        }
    }
    free(records.at);
    px_reader_free(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    px_scorer *scorer;
    px_reading reading;
    const char *text = (const char *)data;
    size_t half = size / 2; /* the first half answers the second */
    if (!lists)
        PX_FUZZ_HOLDS(px_fuzz_opened(px_lists_read(PX_SOURCE_DIR "/configs/traits", &lists)));
    PX_FUZZ_HOLDS(px_fuzz_opened(px_scorer_new(lists, &scorer)));
    PX_FUZZ_HOLDS(px_fuzz_opened(px_scorer_read(scorer, text, size, NULL, 0, -1, &reading)));
    reading_check(&reading);
    PX_FUZZ_HOLDS(
        px_fuzz_opened(px_scorer_read(scorer, text, half, text + half, size - half, 7, &reading)));
    reading_check(&reading);
    px_scorer_free(scorer);
    line_check(text, size, false);
    line_check(text, size, true);
    return 0;
}
