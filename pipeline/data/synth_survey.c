/* synth_survey.c - one invented participant: the survey's fields, with a self description that
 * speaks of the planted taste, so that arms which read the survey have something to find. */
#include "synth.h"

#include <string.h>

static const char *const ages[] = {"18-24 years old",  "25-34 years old", "35-44 years old",
                                   "45-54 years old",  "55-64 years old", "65+ years old",
                                   "Prefer not to say"};
static const char *const genders[] = {
    "Female", "Male", "Female", "Male", "Non-binary / third gender", "Prefer not to say"};
static const char *const employments[] = {"Working full-time",
                                          "Working part-time",
                                          "Student",
                                          "Unemployed, seeking work",
                                          "Retired",
                                          "Homemaker / Stay-at-home parent",
                                          "Unemployed, not seeking work",
                                          "Prefer not to say"};
static const char *const educations[] = {"University Bachelors Degree",
                                         "Some University but no degree",
                                         "Completed Secondary School",
                                         "Graduate / Professional degree",
                                         "Vocational",
                                         "Completed Primary School",
                                         "Some Secondary",
                                         "Some Primary",
                                         "Prefer not to say"};
static const char *const marriages[] = {"Never been married", "Married", "Divorced / Separated",
                                        "Widowed", "Prefer not to say"};
static const char *const proficiencies[] = {"Native speaker", "Fluent", "Advanced", "Intermediate",
                                            "Basic"};
static const char *const familiarities[] = {"Somewhat familiar", "Very familiar",
                                            "Not familiar at all"};
static const char *const frequencies[] = {"Once per month", "Every week", "Every day",
                                          "Less than one a year", "More than once a month"};
static const char *const religions[][2] = {{"No Affiliation", "No Affiliation"},
                                           {"Christian", "Christian"},
                                           {"Muslim", "Muslim"},
                                           {"Jewish", "Jewish"},
                                           {"Hindu", "Other"},
                                           {"Buddhist", "Other"},
                                           {"Prefer not to say", "Prefer not to say"}};
static const char *const ethnicities[][2] = {
    {"White", "White"}, {"Black / African", "Black"}, {"Hispanic / Latino", "Hispanic"},
    {"Asian", "Asian"}, {"Mixed", "Mixed"},           {"Prefer not to say", "Prefer not to say"}};
static const char *const places[][5] = {
    {"United Kingdom", "GBR", "Europe", "Northern Europe", "UK"},
    {"United States", "USA", "Americas", "Northern America", "US"},
    {"South Africa", "ZAF", "Africa", "Sub-Saharan Africa", "Africa"},
    {"Mexico", "MEX", "Americas", "Latin America and the Caribbean",
     "Latin America and the Caribbean"},
    {"Poland", "POL", "Europe", "Eastern Europe", "Europe"},
    {"Australia", "AUS", "Oceania", "Australia and New Zealand", "Australia and New Zealand"},
    {"Israel", "ISR", "Asia", "Western Asia", "Middle East"},
    {"India", "IND", "Asia", "Southern Asia", "Asia"}};
static const char *const jobs[] = {"a nurse",
                                   "a teacher",
                                   "a bus driver",
                                   "an accountant",
                                   "a student of biology",
                                   "a retired engineer",
                                   "a shop assistant",
                                   "a programmer",
                                   "a carpenter",
                                   "a mother of three",
                                   "a librarian",
                                   "a cook"};
static const char *const pastimes[] = {"reading crime novels",
                                       "walking my dog",
                                       "football",
                                       "baking",
                                       "choir singing",
                                       "old films",
                                       "chess",
                                       "my garden",
                                       "cycling",
                                       "board games with friends"};
static const char *const cares[] = {
    "I care about fairness.",           "My family comes first.",
    "I am curious about the world.",    "I value honesty.",
    "I try to be patient with people.", "I worry about the climate.",
    "I believe in hard work.",          "I love a good laugh."};
static const char *const usecases[] = {"homework_assistance",
                                       "research",
                                       "source_suggestions",
                                       "professional_work",
                                       "creative_writing",
                                       "casual_conversation",
                                       "personal_recommendations",
                                       "daily_productivity",
                                       "technical_or_programming_help",
                                       "travel_guidance",
                                       "lifestyle_and_hobbies",
                                       "well-being_guidance",
                                       "medical_guidance",
                                       "financial_guidance",
                                       "games",
                                       "historical_or_news_insight",
                                       "relationship_advice",
                                       "language_learning",
                                       "other"};
static const char *const prefs[] = {"values",          "creativity",  "fluency",
                                    "factuality",      "diversity",   "safety",
                                    "personalisation", "helpfulness", "other"};

static void add_text(px_str *out, const char *key, const char *value) {
    px_str_format(out, ", \"%s\": ", key);
    px_str_json(out, value, strlen(value));
}

static void add_order(px_draw *draw, px_str *out, const char *key, const char *const *names,
                      int n) {
    px_str text = {0};
    int first = (int)px_draw_below(draw, (uint32_t)n);
    for (int i = 0; i < n; i++) px_str_format(&text, "%s%s", i ? ", " : "", names[(first + i) % n]);
    if (text.data) add_text(out, key, text.data);
    px_str_free(&text);
}

static void add_usecases(px_draw *draw, px_str *out, bool asked) {
    px_str_text(out, ", \"lm_usecases\": ");
    if (!asked) {
        px_str_text(out, "null, \"order_lm_usecases\": null");
        return;
    }
    px_str_char(out, '{');
    for (size_t i = 0; i < PX_COUNT(usecases); i++)
        px_str_format(out, "%s\"%s\": %d", i ? ", " : "", usecases[i], px_draw_chance(draw, 0.25));
    px_str_text(out, ", \"other_text\": null}");
    add_order(draw, out, "order_lm_usecases", usecases, PX_COUNT(usecases));
}

static void add_prefs(px_draw *draw, px_str *out) {
    px_str_text(out, ", \"stated_prefs\": {");
    for (size_t i = 0; i < PX_COUNT(prefs); i++)
        px_str_format(out, "%s\"%s\": %d", i ? ", " : "", prefs[i], (int)px_draw_below(draw, 101));
    px_str_text(out, ", \"other_text\": null}");
    add_order(draw, out, "order_stated_prefs", prefs, PX_COUNT(prefs));
}

static void add_self(px_draw *draw, const px_taste *taste, px_str *out) {
    px_str text = {0};
    px_str_format(&text, "I am %s and I enjoy %s. %s", px_draw_of(draw, jobs),
                  px_draw_of(draw, pastimes), px_draw_of(draw, cares));
    if (text.data) add_text(out, "self_description", text.data);
    px_str_clear(&text);
    px_str_text(&text, "You are a helpful assistant.");
    for (int a = 0; a < PX_AXES; a++)
        if (taste->weight[a])
            px_str_format(&text, " %s",
                          taste->weight[a] > 0 ? px_axis_likes[a] : px_axis_dislikes[a]);
    if (text.data) add_text(out, "system_string", text.data);
    px_str_free(&text);
}

static void add_group(px_draw *draw, px_str *out, const char *key, const char *const (*choices)[2],
                      int n) {
    const char *const *choice = choices[px_draw_below(draw, (uint32_t)n)];
    px_str_format(
        out,
        ", \"%s\": {\"self_described\": \"%s\", \"categorised\": \"%s\", \"simplified\": \"%s\"}",
        key, choice[0], choice[0], choice[1]);
}

/* Returns the index of the place of residence. */
static uint32_t add_location(px_draw *draw, px_str *out) {
    uint32_t live = px_draw_below(draw, (uint32_t)PX_COUNT(places));
    uint32_t birth =
        px_draw_chance(draw, 0.85) ? live : px_draw_below(draw, (uint32_t)PX_COUNT(places));
    const char *const *b = places[birth], *const *l = places[live];
    px_str_format(
        out,
        ", \"location\": {\"birth_country\": \"%s\", \"birth_countryISO\": \"%s\", "
        "\"birth_region\": \"%s\", \"birth_subregion\": \"%s\", \"reside_country\": \"%s\", "
        "\"reside_countryISO\": \"%s\", \"reside_region\": \"%s\", \"reside_subregion\": \"%s\", "
        "\"same_birth_reside_country\": \"%s\", \"special_region\": \"%s\"}",
        b[0], b[1], b[2], b[3], l[0], l[1], l[2], l[3], birth == live ? "Yes" : "No", l[4]);
    return live;
}

void px_survey_write(uint64_t seed, uint64_t person, int n_convs, const px_taste *taste,
                     px_str *out) {
    px_draw draw = px_draw_for(seed, PX_DRAW_SURVEY, person);
    bool used = px_draw_chance(&draw, 0.7);
    px_str_format(
        out, "{\"user_id\": \"user%llu\", \"survey_only\": %s, \"num_completed_conversations\": %d",
        (unsigned long long)person, n_convs ? "false" : "true", n_convs);
    add_text(out, "consent", "Yes, I consent to take part");
    add_text(out, "consent_age", "I certify that I am 18 years of age or over");
    add_text(out, "lm_familiarity", px_draw_of(&draw, familiarities));
    add_text(out, "lm_indirect_use", px_draw_chance(&draw, 0.8) ? "Yes" : "No");
    add_text(out, "lm_direct_use", used ? "Yes" : "No");
    px_str_text(out, ", \"lm_frequency_use\": ");
    px_str_format(out, used ? "\"%s\"" : "null", px_draw_of(&draw, frequencies));
    add_usecases(&draw, out, used);
    add_prefs(&draw, out);
    add_self(&draw, taste, out);
    add_text(out, "age", px_draw_of(&draw, ages));
    add_text(out, "gender", px_draw_of(&draw, genders));
    add_text(out, "employment_status", px_draw_of(&draw, employments));
    add_text(out, "education", px_draw_of(&draw, educations));
    add_text(out, "marital_status", px_draw_of(&draw, marriages));
    add_text(out, "english_proficiency", px_draw_of(&draw, proficiencies));
    add_group(&draw, out, "religion", religions, PX_COUNT(religions));
    add_group(&draw, out, "ethnicity", ethnicities, PX_COUNT(ethnicities));
    uint32_t live = add_location(&draw, out);
    add_text(out, "study_id", "synthetic");
    add_text(out, "study_locale", live == 0 ? "uk" : live == 1 ? "us" : "row");
    add_text(out, "generated_datetime", "2023-11-22 15:21:11");
    uint32_t seconds = 300 + px_draw_below(&draw, 2400);
    px_str_format(out, ", \"timing_duration_s\": %u.0, \"timing_duration_mins\": %u.%u", seconds,
                  seconds / 60, seconds % 60 / 6);
    px_str_format(out,
                  ", \"included_in_UK_REP\": %s, \"included_in_US_REP\": %s, "
                  "\"included_in_balanced_subset\": %s}\n",
                  live == 0 && px_draw_chance(&draw, 0.8) ? "true" : "false",
                  live == 1 && px_draw_chance(&draw, 0.8) ? "true" : "false",
                  n_convs ? "true" : "false");
}
