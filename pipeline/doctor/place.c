/* place.c - the folder where results will lie: what kind of file system, whether whole files and
 * locks really work, space, quota, the server's clock. Everything made here is removed again. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/quota.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "doctor_internal.h"

typedef struct {
    unsigned long magic;
    const char *name;
    bool network, memory;
} file_system;

static const file_system systems[] = {
    {0xEF53, "ext2, ext3 or ext4", false, false},
    {0x58465342, "xfs", false, false},
    {0x9123683E, "btrfs", false, false},
    {0x2FC12FC1, "zfs", false, false},
    {0xF2F52010, "f2fs", false, false},
    {0x794C7630, "overlay (a container's layer)", false, false},
    {0x01021994, "tmpfs", false, true},
    {0x858458F6, "ramfs", false, true},
    {0x6969, "nfs", true, false},
    {0xFF534D42, "cifs", true, false},
    {0xFE534D42, "smb2", true, false},
    {0x0BD00BD0, "lustre", true, false},
    {0x47504653, "gpfs", true, false},
    {0x19830326, "beegfs", true, false},
    {0x00C36400, "ceph", true, false},
    {0x65735546, "fuse", true, false},
    {0x01021997, "9p", true, false},
};

static const file_system *check_kind(px_doctor *d, const char *dir) {
    struct statfs fs;
    if (statfs(dir, &fs) != 0) return NULL;
    for (size_t i = 0; i < PX_COUNT(systems); i++) {
        const file_system *s = &systems[i];
        if ((unsigned long)fs.f_type != s->magic) continue;
        if (s->memory)
            px_doctor_add(d, PX_CHECK_WARNING, "dir.kind",
                          "keep results elsewhere: they are memory and go with the machine",
                          "%s is %s", dir, s->name);
        else
            px_doctor_add(d, PX_CHECK_OK, "dir.kind", "", "%s is %s%s", dir, s->name,
                          s->network ? ", over a network" : "");
        return s;
    }
    px_doctor_add(d, PX_CHECK_OK, "dir.kind", "", "%s is of kind 0x%lx", dir,
                  (unsigned long)fs.f_type);
    return NULL;
}

/* --- whole files --- */

/* Writes, flushes, renames and reads one block, as px_file_out does. */
static bool try_write(px_doctor *d, const char *dir, const char *name) {
    char text[256], path[4096];
    struct stat is;
    px_bytes back = {0};
    snprintf(path, sizeof path, "%s/%s", dir, name);
    snprintf(text, sizeof text, "written by prismx doctor, process %ld\n", (long)getpid());
    const time_t before = time(NULL);
    px_err *err = px_file_write(path, text, strlen(text));
    if (!err) err = px_file_read(path, &back);
    const bool same = !err && back.size == strlen(text) && memcmp(back.data, text, back.size) == 0;
    const bool dated = same && stat(path, &is) == 0;
    if (err)
        px_doctor_add(d, PX_CHECK_PROBLEM, "dir.write",
                      "another folder (--dir), or its permissions", "%s", px_err_text(err));
    else if (!same)
        px_doctor_add(d, PX_CHECK_PROBLEM, "dir.write", "another folder: this one loses data",
                      "a file read back is not what was written");
    else
        px_doctor_add(d, PX_CHECK_OK, "dir.write", "", "written, flushed, renamed, read back");
    if (dated) {
        const double off = difftime(is.st_mtime, before);
        const bool far = off < -2 || off > 5;
        px_doctor_add(d, far ? PX_CHECK_WARNING : PX_CHECK_OK, "dir.clock",
                      far ? "set the clocks of this machine and of the file server by NTP" : "",
                      far ? "the file system's clock is %.0f s off" : "agrees with this machine's",
                      off);
    }
    px_bytes_free(&back);
    px_err_free(err);
    return same;
}

/* --- locks --- */

/* Two open descriptions of one file, as two processes would have: the second must be refused. */
static const char *try_flock(int first, int second) {
    if (flock(first, LOCK_EX | LOCK_NB) != 0) return strerror(errno);
    const int rc = flock(second, LOCK_EX | LOCK_NB);
    flock(first, LOCK_UN);
    return rc == 0 ? "two holders at once: locks have no effect" : NULL;
}

static const char *try_fcntl(int first, int second) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(first, F_SETLK, &lock) != 0) return strerror(errno);
    lock.l_type = F_UNLCK;
    if (fcntl(first, F_SETLK, &lock) != 0) return strerror(errno);
#ifdef F_OFD_SETLK
    /* A process does not conflict with itself by F_SETLK; an open description does. */
    lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(first, F_OFD_SETLK, &lock) != 0) return NULL; /* not offered: what was seen counts */
    lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(second, F_OFD_SETLK, &lock) == 0) return "two holders at once: locks have no effect";
#else
    (void)second;
#endif
    return NULL;
}

static void check_locks(px_doctor *d, const char *dir, const char *name) {
    char path[4096];
    const char *env = getenv("HDF5_USE_FILE_LOCKING");
    const bool off = env && strcmp(env, "FALSE") == 0;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    const int first = open(path, O_RDWR | O_CLOEXEC), second = open(path, O_RDWR | O_CLOEXEC);
    if (first >= 0 && second >= 0) {
        const char *why = try_flock(first, second);
        px_doctor_add(
            d,
            !why  ? PX_CHECK_OK
            : off ? PX_CHECK_WARNING
                  : PX_CHECK_PROBLEM,
            "dir.flock",
            !why  ? ""
            : off ? "let no two runs share a folder: nothing keeps them apart"
                  : "export HDF5_USE_FILE_LOCKING=FALSE, and let no two runs share a folder",
            "%s", why ? why : "works, a second holder is refused");
        why = try_fcntl(first, second);
        px_doctor_add(d, why ? PX_CHECK_WARNING : PX_CHECK_OK, "dir.fcntl",
                      why ? "MPI-IO may need them: OMPI_MCA_io=ompio, or mount with locks" : "",
                      "%s", why ? why : "works, a second holder is refused");
    }
    if (first >= 0) close(first);
    if (second >= 0) close(second);
}

/* --- space --- */

static void check_space(px_doctor *d, const char *dir) {
    struct statvfs fs;
    if (statvfs(dir, &fs) != 0) return;
    const double free_gb = (double)fs.f_bavail * (double)fs.f_frsize / 1e9;
    const px_check_state state = free_gb < 0.1  ? PX_CHECK_PROBLEM
                                 : free_gb < 10 ? PX_CHECK_WARNING
                                                : PX_CHECK_OK;
    px_doctor_add(d, state, "dir.free",
                  state ? "free some; prismx plan says what a run writes" : "", "%.1f GB free",
                  free_gb);
    if (fs.f_files > 0 && fs.f_favail < 1000)
        px_doctor_add(d, PX_CHECK_WARNING, "dir.inodes", "remove small files",
                      "only %llu more files fit", (unsigned long long)fs.f_favail);
}

/* The device that holds dir, as /proc/self/mountinfo names it. */
static bool device_of(const px_doctor *d, const char *dir, char *out, size_t size) {
    char path[4096], line[4096];
    struct stat is;
    snprintf(path, sizeof path, "%s/proc/self/mountinfo", d->root);
    FILE *file = stat(dir, &is) == 0 ? fopen(path, "r") : NULL;
    bool found = false;
    while (file && !found && fgets(line, sizeof line, file)) {
        char *words[16], *rest = NULL, *end = NULL;
        int n = 0, dash = 16;
        for (char *w = strtok_r(line, " \n", &rest); w && n < 16;
             w = strtok_r(NULL, " \n", &rest)) {
            if (strcmp(w, "-") == 0) dash = n;
            words[n++] = w;
        }
        /* ID PARENT MAJOR:MINOR ROOT POINT OPTIONS … - KIND SOURCE OPTIONS */
        if (dash + 2 >= n) continue;
        const unsigned long major = strtoul(words[2], &end, 10);
        if (*end != ':') continue;
        if (makedev((unsigned)major, (unsigned)strtoul(end + 1, NULL, 10)) != is.st_dev) continue;
        found = words[dash + 2][0] == '/';
        if (found) snprintf(out, size, "%s", words[dash + 2]);
    }
    if (file) fclose(file);
    return found;
}

static void check_quota(px_doctor *d, const char *dir) {
    char device[2048];
    struct dqblk quota;
    if (!device_of(d, dir, device, sizeof device)) {
        px_doctor_add(d, PX_CHECK_OK, "dir.quota", "",
                      "not known here: quota -s, or lfs quota, may tell");
        return;
    }
    memset(&quota, 0, sizeof quota);
    /* As QCMD, which shifts a signed number into its sign. */
    const int command = (int)((unsigned)Q_GETQUOTA << SUBCMDSHIFT | USRQUOTA);
    if (quotactl(command, device, (int)geteuid(), (char *)&quota) != 0) {
        px_doctor_add(d, PX_CHECK_OK, "dir.quota", "", "none (%s)", strerror(errno));
        return;
    }
    const double limit =
        (double)(quota.dqb_bsoftlimit ? quota.dqb_bsoftlimit : quota.dqb_bhardlimit);
    const double left = limit * 1024 - (double)quota.dqb_curspace;
    if (limit == 0)
        px_doctor_add(d, PX_CHECK_OK, "dir.quota", "", "no limit for this user");
    else
        px_doctor_add(d, left < 1e9 ? PX_CHECK_WARNING : PX_CHECK_OK, "dir.quota",
                      left < 1e9 ? "free some, or ask for more" : "", "%.1f GB left of %.1f GB",
                      left / 1e9, limit * 1024 / 1e9);
}

void px_doctor_place(px_doctor *doctor, const char *dir) {
    char name[64], path[4096];
    if (!px_path_is_dir(dir)) {
        px_doctor_add(doctor, PX_CHECK_PROBLEM, "dir.kind", "make it, or name another by --dir",
                      "%s is no folder", dir);
        return;
    }
    snprintf(name, sizeof name, ".prismx-doctor-%ld", (long)getpid());
    snprintf(path, sizeof path, "%s/%s", dir, name);
    check_kind(doctor, dir);
    if (try_write(doctor, dir, name)) check_locks(doctor, dir, name);
    check_space(doctor, dir);
    check_quota(doctor, dir);
    unlink(path);
}
