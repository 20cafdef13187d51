/* report_study.h - stats.tsv, stats.json and a summary of traits as prismx stats and traits leave
 * them, made up: for the report's tests, and for looking at the page. */
#ifndef PX_REPORT_STUDY_H
#define PX_REPORT_STUDY_H

typedef struct {
    const char *const *arms;        /* [n_arms] the reference first */
    const char *const *domains;     /* [n_names] */
    int n_arms, n_domains, n_names; /* more domains than names: numbered */
    unsigned sources;               /* bits: 1 human, 2 judge, 4 converse */
    const char *extra;              /* further lines, or NULL */
    const char *runs;               /* stats.json's "runs" and seconds of answers, or NULL */
} made_study;

/* PARENT/NAME (which ends in .tsv) and the .json beside it. */
void make_study(const char *parent, const char *name, const made_study *study);
/* PARENT/NAME: a summary of traits, with a judge. */
void make_traits(const char *parent, const char *name, const made_study *study);

#endif
