/* cmd_doctor.c - prismx doctor: what this machine has and lacks. */
#include "cmd.h"
#include "doctor.h"

enum { KEY_JSON = 1, KEY_MPI, KEY_DIR };

typedef struct {
    const char *dir;
    bool json, mpi;
} doctor_options;

static error_t parse_doctor(int key, char *arg, struct argp_state *state) {
    doctor_options *o = state->input;
    switch (key) {
    case KEY_JSON:
        o->json = true;
        break;
    case KEY_MPI:
        o->mpi = true;
        break;
    case KEY_DIR:
        o->dir = arg;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option options[] = {
    {"json", KEY_JSON, NULL, 0, "One JSON object in place of lines", 0},
    {"mpi", KEY_MPI, NULL, 0,
     "Under mpirun or srun: also sums over all ranks and a file written by all of them", 0},
    {"dir", KEY_DIR, "DIR", 0, "Folder to try files and locks in (the present one)", 0},
    {0}};
static const struct argp argp = {
    options,
    parse_doctor,
    NULL,
    "Says what this machine has and lacks: a line a check, ok, warning or problem, and what to do. "
    "Exits with 1 where there is a problem.\v"
    "Example:\n  prismx doctor --dir runs\n  mpirun -n 4 prismx doctor --mpi",
    NULL,
    NULL,
    NULL};

static px_err *look_alone(px_doctor *doctor, const doctor_options *o) {
    px_doctor_hardware(doctor);
    px_doctor_software(doctor);
    px_doctor_place(doctor, o->dir);
    return NULL;
}

px_err *cmd_doctor(px_ranks *ranks, int argc, char **argv) {
    doctor_options o = {.dir = "."};
    px_doctor *doctor = NULL;
    px_str text = {0};
    px_err *err = NULL;
    int problems = 0;
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, &o));
    err = px_doctor_new("", &doctor);
    if (!err && ranks->rank == 0) err = look_alone(doctor, &o);
    PX_PASS_TO(done, px_agree_all(ranks, err));
    if (o.mpi) PX_PASS_TO(done, px_doctor_ranks_all(doctor, ranks, o.dir));
    if (ranks->rank == 0) err = px_doctor_print(doctor, o.json, &text);
    PX_PASS_TO(done, px_agree_all(ranks, err));
    if (ranks->rank == 0) {
        printf("%s", text.data);
        problems = px_doctor_count(doctor, PX_CHECK_PROBLEM);
    }
    px_bcast_all(ranks, &problems, sizeof problems, 0);
    if (problems)
        err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__,
                         "%d problem%s: the lines above say what to do", problems,
                         problems > 1 ? "s" : "");
done:
    px_str_free(&text);
    px_doctor_free(doctor);
    return err;
}
