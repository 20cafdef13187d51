/* synth_pair.c - planted pairs: two answers alike but for one trait, to try scorers on. */
#include "synth.h"

static px_subject subject_draw(px_draw *draw) {
    int n = 0;
    const px_topic *topics = px_topics((px_topic_kind)px_draw_below(draw, 4), &n);
    const px_topic *topic = &topics[px_draw_below(draw, (uint32_t)n)];
    return (px_subject){topic, (int)px_draw_below(draw, PX_THINGS)};
}

px_err *px_synth_pair(uint64_t seed, uint64_t index, px_synth_trait trait, px_str *without,
                      px_str *with) {
    px_draw draw = px_draw_for(seed, PX_DRAW_PAIR, index * 4 + (uint64_t)trait);
    px_subject subject = subject_draw(&draw);
    uint8_t levels[PX_AXES];
    for (int i = 0; i < PX_AXES; i++) levels[i] = px_draw_chance(&draw, 0.5);
    if (trait == PX_SYNTH_WARM || trait == PX_SYNTH_PADDED) levels[PX_AXIS_WARM] = 0;
    if (trait == PX_SYNTH_AGREE || trait == PX_SYNTH_PADDED) levels[PX_AXIS_AGREE] = 0;
    if (trait == PX_SYNTH_PADDED) levels[PX_AXIS_QUESTION] = 0; /* else one that closes no more */
    px_answer_write(&draw, subject, levels, without);
    if (trait == PX_SYNTH_PADDED) {
        px_str_add(with, without->data, without->size);
        px_str_text(with, "\n\n");
        levels[PX_AXIS_FORMAL] = 1;
    } else {
        levels[trait == PX_SYNTH_WARM ? PX_AXIS_WARM : PX_AXIS_AGREE] = 1;
    }
    px_answer_write(&draw, subject, levels, with);
    PX_PASS(px_str_ok(without));
    return px_str_ok(with);
}
