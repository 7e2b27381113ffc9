/* A FAKE NVML: the part of its ABI that rbee uses, answering from the text file that $NVML_SCENARIO names.
 *
 * The file is read again at each nvmlInit and at each nvmlDeviceGetCount, so that it may change under a daemon;
 * without the variable it is /etc/nvml-scenario.
 * One thing a line, key=value after its kind; what is not said is NVML_ERROR_NOT_SUPPORTED:
 *
 *   driver version=570.1 error=0                  error: what nvmlInit answers (nvml.h: 9 driver not loaded, …)
 *   gpu name=RTX_4090 uuid=GPU-0 total=8 used=3 util=7 temp=50 power=87000 limit=350000 pci=0000:01:00.0 cc=8.9
 *       ecc=0 mig=1 lost=1 xid=79 memory_error=15  lost: the handle itself is refused; memory_error: that question;
 *                                                     processes_error: that one;
 *                                                     xid: told when it changes, to who watched the GPU before that
 *   process gpu=0 pid=123 memory=6442450944 kind=g      kind: c computes, g draws; without memory it is not told
 *   instance gpu=0 name=MIG_1g.10gb uuid=MIG-0 total=8 used=3
 *   workers memory=3221225472                     every process started with --backend=cuda and --gpu=N[,N] has so much on each
 *
 * Underscores in names stand for blanks. Return codes are those of nvml.h.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, TIMED_OUT = 10, LOST = 15 };
enum { MOST = 64, LONG = 96 };
#define UNSAID (-1LL)
#define NOT_TOLD (~0ULL)

typedef struct {
    char name[LONG], uuid[LONG], pci[32];
    long long total, used, util, temp, power, limit, ecc, mig, lost, xid, memory_error, processes_error, parent;
    int major, minor;
} device;
typedef struct { long long gpu, pid, memory; char kind; } process;
typedef struct { unsigned pid; unsigned long long memory; unsigned gpu_instance, compute_instance; } process_info;
typedef struct { unsigned long long total, free, used; } memory_info;
typedef struct { unsigned gpu, memory; } utilization;
typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } pci_info;
typedef struct { device *gpu; unsigned long long type, data; unsigned gpu_instance, compute_instance; } event;

/* What the driver knows of a GPU whatever its index is now. */
typedef struct { char uuid[LONG]; long long seen, pending; int watched; } watch;

static watch watches[MOST];
static device devices[MOST];   /* GPUs first, then instances */
static process processes[MOST];
static int gpus, instances, users, open_count, init_error;
static char version[LONG];

static long long number(const char *line, const char *key) {
    char wanted[32];
    snprintf(wanted, sizeof wanted, " %s=", key);
    const char *at = strstr(line, wanted);
    return at ? atoll(at + strlen(wanted)) : UNSAID;
}

static void text(const char *line, const char *key, char *to, size_t room) {
    char wanted[32];
    snprintf(wanted, sizeof wanted, " %s=", key);
    const char *at = strstr(line, wanted);
    size_t length = 0;
    if (at)
        for (at += strlen(wanted); *at && *at != ' ' && *at != '\n' && length + 1 < room; at++)
            to[length++] = *at == '_' ? ' ' : *at;
    to[length] = 0;
}

static watch *watch_of(const device *gpu) {
    for (int n = 0; n < MOST; n++) {
        if (!*watches[n].uuid) strcpy(watches[n].uuid, gpu->uuid);
        if (!strcmp(watches[n].uuid, gpu->uuid)) return &watches[n];
    }
    return &watches[MOST - 1];
}

static void forget_watches(void) {
    for (int n = 0; n < MOST; n++) watches[n].watched = 0, watches[n].pending = 0;
}

static void read_device(const char *line, device *to, long long parent) {
    memset(to, 0, sizeof *to);
    text(line, "name", to->name, sizeof to->name);
    text(line, "uuid", to->uuid, sizeof to->uuid);
    text(line, "pci", to->pci, sizeof to->pci);
    to->total = number(line, "total"), to->used = number(line, "used"), to->util = number(line, "util");
    to->temp = number(line, "temp"), to->power = number(line, "power"), to->limit = number(line, "limit");
    to->ecc = number(line, "ecc"), to->mig = number(line, "mig"), to->lost = number(line, "lost");
    to->xid = number(line, "xid"), to->memory_error = number(line, "memory_error"), to->parent = parent;
    to->processes_error = number(line, "processes_error");
    char cc[16];
    text(line, "cc", cc, sizeof cc);
    if (!*cc || sscanf(cc, "%d.%d", &to->major, &to->minor) != 2) to->major = -1;
}

static void use(long long gpu, long long memory) {
    if (gpu < 0 || gpu >= gpus) return;
    devices[gpu].used = (devices[gpu].used > 0 ? devices[gpu].used : 0) + memory;
}

/* Find the workers as the driver would: by what they run on. */
static void read_workers(long long memory) {
    DIR *all = opendir("/proc");
    struct dirent *entry;
    char path[300], said[4096];
    while (all && (entry = readdir(all))) {
        snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
        FILE *file = atoi(entry->d_name) ? fopen(path, "r") : NULL;
        if (!file) continue;
        size_t length = fread(said, 1, sizeof said - 1, file);
        fclose(file);
        said[length] = 0;
        for (size_t n = 0; n < length; n++)
            if (!said[n]) said[n] = ' ';
        const char *gpu = strstr(said, " --gpu=");
        if (!gpu || !strstr(said, " --backend=cuda ")) continue;
        for (gpu += 7; *gpu && users < MOST; gpu += *gpu == ',') { /* 0,1: it is on both */
            char *end;
            long long index = strtoll(gpu, &end, 10);
            if (end == gpu) break;
            processes[users++] = (process){index, atoll(entry->d_name), memory, 'c'};
            use(index, memory);
            gpu = end;
        }
    }
    if (all) closedir(all);
}

static void read_scenario(void) {
    const char *path = getenv("NVML_SCENARIO");
    long long of_workers = UNSAID;
    if (!path) path = "/etc/nvml-scenario";
    FILE *file = fopen(path, "r");
    char line[1024];
    gpus = instances = users = init_error = 0;
    strcpy(version, "0");
    while (file && fgets(line, sizeof line, file)) {
        if (!strncmp(line, "driver ", 7)) {
            text(line, "version", version, sizeof version);
            long long error = number(line, "error");
            init_error = error > 0 ? (int)error : 0;
        } else if (!strncmp(line, "gpu ", 4) && gpus < MOST / 2) {
            read_device(line, &devices[gpus], UNSAID);
            watch *of = watch_of(&devices[gpus]);
            if (of->seen != devices[gpus].xid && of->watched && devices[gpus].xid > 0) of->pending = devices[gpus].xid;
            of->seen = devices[gpus++].xid;
        } else if (!strncmp(line, "instance ", 9) && instances < MOST / 2) {
            read_device(line, &devices[MOST / 2 + instances++], number(line, "gpu"));
        } else if (!strncmp(line, "workers ", 8)) {
            of_workers = number(line, "memory");
        } else if (!strncmp(line, "process ", 8) && users < MOST) {
            char kind[4];
            text(line, "kind", kind, sizeof kind);
            processes[users++] =
                (process){number(line, "gpu"), number(line, "pid"), number(line, "memory"), *kind ? *kind : 'c'};
        }
    }
    if (file) fclose(file);
    if (of_workers != UNSAID) read_workers(of_workers);
}

static int give(long long value, unsigned *to) {
    if (value == UNSAID) return NOT_SUPPORTED;
    *to = (unsigned)value;
    return OK;
}

static int give_text(const char *value, char *to, unsigned room) {
    if (!*value) return NOT_SUPPORTED;
    snprintf(to, room, "%s", value);
    return OK;
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    read_scenario();
    if (!init_error) open_count++;
    return init_error;
}
int nvmlShutdown(void) {
    if (!open_count) return UNINITIALIZED;
    if (!--open_count) forget_watches();
    return OK;
}
const char *nvmlErrorString(int code) { return code == OK ? "Success" : "fake NVML error"; }
int nvmlSystemGetDriverVersion(char *to, unsigned room) { return give_text(version, to, room); }
int nvmlDeviceGetCount_v2(unsigned *count) {
    if (!open_count) return UNINITIALIZED;
    read_scenario();
    if (init_error) return init_error;
    *count = (unsigned)gpus;
    return OK;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, device **to) {
    if ((int)index >= gpus) return INVALID;
    if (devices[index].lost > 0) return LOST;
    *to = &devices[index];
    return OK;
}
int nvmlDeviceGetName(device *gpu, char *to, unsigned room) { return give_text(gpu->name, to, room); }
int nvmlDeviceGetUUID(device *gpu, char *to, unsigned room) {
    return gpu->lost > 0 ? LOST : give_text(gpu->uuid, to, room);
}
int nvmlDeviceGetMemoryInfo(device *gpu, memory_info *to) {
    if (gpu->memory_error > 0) return (int)gpu->memory_error;
    if (gpu->total == UNSAID) return NOT_SUPPORTED;
    unsigned long long used = gpu->used > 0 ? (unsigned long long)gpu->used : 0;
    *to = (memory_info){(unsigned long long)gpu->total, (unsigned long long)gpu->total - used, used};
    return OK;
}
int nvmlDeviceGetPowerUsage(device *gpu, unsigned *to) { return give(gpu->power, to); }
int nvmlDeviceGetEnforcedPowerLimit(device *gpu, unsigned *to) { return give(gpu->limit, to); }
int nvmlDeviceGetTemperature(device *gpu, int sensor, unsigned *to) { return (void)sensor, give(gpu->temp, to); }
int nvmlDeviceGetUtilizationRates(device *gpu, utilization *to) { return to->memory = 0, give(gpu->util, &to->gpu); }
int nvmlDeviceGetCudaComputeCapability(device *gpu, int *major, int *minor) {
    if (gpu->major < 0) return NOT_SUPPORTED;
    *major = gpu->major, *minor = gpu->minor;
    return OK;
}
int nvmlDeviceGetPciInfo_v3(device *gpu, pci_info *to) {
    memset(to, 0, sizeof *to);
    return give_text(gpu->pci, to->bus_id, sizeof to->bus_id);
}
int nvmlDeviceGetTotalEccErrors(device *gpu, int type, int counter, unsigned long long *to) {
    (void)type, (void)counter;
    if (gpu->ecc == UNSAID) return NOT_SUPPORTED;
    *to = (unsigned long long)gpu->ecc;
    return OK;
}
int nvmlDeviceGetMigMode(device *gpu, unsigned *now, unsigned *pending) {
    return give(gpu->mig, now) || give(gpu->mig, pending);
}

/* MIG */
static device *instance(device *gpu, int place) {
    for (int n = MOST / 2; n < MOST / 2 + instances; n++)
        if (devices[n].parent == gpu - devices && place-- == 0) return &devices[n];
    return NULL;
}
int nvmlDeviceGetMaxMigDeviceCount(device *gpu, unsigned *to) { return (void)gpu, *to = 7, OK; }
int nvmlDeviceGetMigDeviceHandleByIndex(device *gpu, unsigned place, device **to) {
    *to = instance(gpu, (int)place);
    return *to ? OK : NOT_FOUND;
}

/* Processes: the first call asks how many, the second takes them. */
static int running(device *gpu, char kind, unsigned *count, process_info *to) {
    unsigned found = 0, room = *count;
    if (gpu->processes_error > 0) return (int)gpu->processes_error;
    for (int n = 0; n < users; n++) {
        if (processes[n].gpu != gpu - devices || processes[n].kind != kind) continue;
        unsigned long long used = processes[n].memory == UNSAID ? NOT_TOLD : (unsigned long long)processes[n].memory;
        if (to && found < room) to[found] = (process_info){(unsigned)processes[n].pid, used, ~0u, ~0u};
        found++;
    }
    *count = found;
    return found > room || (found && !to) ? TOO_SMALL : OK;
}
int nvmlDeviceGetComputeRunningProcesses_v3(device *gpu, unsigned *count, process_info *to) {
    return running(gpu, 'c', count, to);
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(device *gpu, unsigned *count, process_info *to) {
    return running(gpu, 'g', count, to);
}

/* XIDs: to who had asked before, and only while the set is kept. */
static int a_set;
int nvmlEventSetCreate(void **to) { return *to = &a_set, OK; }
int nvmlEventSetFree(void *set) { return (void)set, forget_watches(), OK; }
int nvmlDeviceRegisterEvents(device *gpu, unsigned long long types, void *set) {
    (void)types, (void)set;
    if (gpu->lost > 0) return LOST;
    watch_of(gpu)->watched = 1;
    return OK;
}
int nvmlEventSetWait_v2(void *set, event *to, unsigned timeout_ms) {
    (void)set, (void)timeout_ms;
    for (int n = 0; n < gpus; n++) {
        watch *of = watch_of(&devices[n]);
        if (!of->pending) continue;
        *to = (event){&devices[n], 8, (unsigned long long)of->pending, ~0u, ~0u};
        of->pending = 0;
        return OK;
    }
    return TIMED_OUT;
}
