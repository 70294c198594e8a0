/* QEMU plugin: executed instructions and memory events of each code address, in segments.
 *
 * A segment begins when the function at `start` is entered and ends when the one at `stop` is; both are those of the
 * counter (ports/bare/counter.h). Arguments, all in decimal: start, stop, code (first address), code_bytes, flash
 * (first address of code and constants), flash_bytes, out (the file that is written). Refuses to load without them.
 *
 * The file is a sequence of records of uint64: number of the segment, address, and the events of enum Event. Caches are
 * simulated with least-recently-used replacement; a code line belongs to the first instruction that is fetched from it.
 *
 * QEMU 7.2 packages no header: the declarations below are those of its plugin interface, version 1. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*OnTranslation)(uint64_t id, struct qemu_plugin_tb* block);
typedef void (*OnExecution)(unsigned cpu, void* data);
typedef void (*OnAccess)(unsigned cpu, uint32_t access, uint64_t address, void* data);
typedef void (*OnExit)(uint64_t id, void* data);
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, OnTranslation call);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb* block, OnExecution call, int flags, void* data);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn* insn, OnAccess call, int flags, int kinds, void* data);
void qemu_plugin_register_atexit_cb(uint64_t id, OnExit call, void* data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb* block);
struct qemu_plugin_insn* qemu_plugin_tb_get_insn(const struct qemu_plugin_tb* block, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn* insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn* insn);
unsigned qemu_plugin_mem_size_shift(uint32_t access);
bool qemu_plugin_mem_is_store(uint32_t access);
EXPORT extern const int qemu_plugin_version;
EXPORT int qemu_plugin_install(uint64_t id, const void* info, int argc, char** argv);

const int qemu_plugin_version = 1;

enum { NO_REGISTERS = 0, LOADS_AND_STORES = 3 };
enum Event {
    EXECUTED,
    TAKEN, /* times that the next instruction executed was another than the next in memory */
    FLASH_LOADS,
    FLASH_LINE_CHANGES,
    UNALIGNED_LOADS,
    ART_CODE,
    ART_DATA,
    ICACHE_CODE,
    ICACHE_DATA,
    ICACHE_NEXT,
    L1_16K_CODE,
    L1_16K_DATA,
    L1_4K_CODE,
    L1_4K_DATA,
    EVENTS
};

/* A cache: sets of ways, the line used last first. */
enum { MOST_LINES = 512 };
struct Cache {
    uint32_t line_bytes, ways, sets;
    uint32_t last_missed;
    uint32_t lines[MOST_LINES]; /* number of the line plus 1; 0 is empty */
};
static struct Cache art_code = {.line_bytes = 32, .ways = 32, .sets = 1};
static struct Cache art_data = {.line_bytes = 32, .ways = 8, .sets = 1};
static struct Cache icache = {.line_bytes = 16, .ways = 2, .sets = 256};
static struct Cache l1_16k_code = {.line_bytes = 32, .ways = 2, .sets = 256};
static struct Cache l1_16k_data = {.line_bytes = 32, .ways = 4, .sets = 128};
static struct Cache l1_4k_code = {.line_bytes = 32, .ways = 2, .sets = 64};
static struct Cache l1_4k_data = {.line_bytes = 32, .ways = 4, .sets = 32};

/* A translated block: the addresses of its instructions, and how often it ran in this segment. */
struct Block {
    struct Block* next;
    uint64_t runs;
    uint32_t start, end, last;
    size_t n_insns;
    uint32_t insns[];
};

static struct {
    uint64_t start, stop, code, code_bytes, flash, flash_bytes;
    const char* out;
} arguments;
static uint64_t (*events)[EVENTS]; /* of each halfword of code */
static struct Block* blocks;
static FILE* file;
static bool counting;
static uint64_t segment;
static uint32_t expected, last_insn, code_line, data_line;

/* Access a cache; returns whether the line was missing. */
static bool missed(struct Cache* cache, uint32_t address) {
    const uint32_t line = address / cache->line_bytes + 1;
    uint32_t* set = &cache->lines[line % cache->sets * cache->ways];
    uint32_t way = 0;
    while (way < cache->ways - 1 && set[way] != line) {
        ++way;
    }
    const bool miss = set[way] != line;
    memmove(&set[1], &set[0], way * sizeof set[0]);
    set[0] = line;
    return miss;
}

static uint64_t* events_at(uint32_t address) {
    return events[(address - arguments.code) / 2];
}

/* Fetch the code of a block, line by line. */
static void fetch(const struct Block* block) {
    enum { LINE_BYTES = 16 };
    for (uint32_t line = block->start / LINE_BYTES; line <= (block->end - 1) / LINE_BYTES; ++line) {
        if (line == code_line) {
            continue;
        }
        const uint32_t first = line * LINE_BYTES > block->start ? line * LINE_BYTES : block->start;
        uint64_t* at = events_at(first);
        at[ICACHE_CODE] += missed(&icache, first);
        if (line / 2 != code_line / 2) {
            at[ART_CODE] += missed(&art_code, first);
            at[L1_16K_CODE] += missed(&l1_16k_code, first);
            at[L1_4K_CODE] += missed(&l1_4k_code, first);
        }
        code_line = line;
    }
}

static void write_record(uint32_t address, const uint64_t* counts) {
    const uint64_t head[2] = {segment, address};
    fwrite(head, sizeof head, 1, file);
    fwrite(counts, sizeof events[0], 1, file);
}

/* Write what was counted since the segment began. */
static void end_segment(void) {
    for (struct Block* block = blocks; block != NULL; block = block->next) {
        for (size_t i = 0; i < block->n_insns && block->runs > 0; ++i) {
            events_at(block->insns[i])[EXECUTED] += block->runs;
        }
        block->runs = 0;
    }
    static const uint64_t nothing[EVENTS];
    for (uint64_t offset = 0; offset < arguments.code_bytes; offset += 2) {
        uint64_t* counts = events[offset / 2];
        if (memcmp(counts, nothing, sizeof nothing) != 0) {
            write_record((uint32_t)(arguments.code + offset), counts);
            memset(counts, 0, sizeof nothing);
        }
    }
    ++segment;
}

static void on_block(unsigned cpu, void* data) {
    (void)cpu;
    struct Block* block = data;
    if (block->start == arguments.stop && counting) {
        counting = false;
        end_segment();
    } else if (block->start == arguments.start) {
        counting = true;
        expected = block->start;
    }
    if (!counting) {
        return;
    }
    if (block->start != expected) {
        ++events_at(last_insn)[TAKEN];
    }
    expected = block->end;
    last_insn = block->last;
    ++block->runs;
    fetch(block);
}

static void load_from_flash(uint64_t* at, uint32_t address) {
    enum { LINE_BYTES = 16 };
    ++at[FLASH_LOADS];
    at[FLASH_LINE_CHANGES] += address / LINE_BYTES != data_line;
    data_line = address / LINE_BYTES;
    at[ART_DATA] += missed(&art_data, address);
    if (missed(&icache, address)) {
        ++at[ICACHE_DATA];
        at[ICACHE_NEXT] += address / LINE_BYTES == icache.last_missed + 1;
        icache.last_missed = address / LINE_BYTES;
    }
}

static void on_access(unsigned cpu, uint32_t access, uint64_t full_address, void* data) {
    (void)cpu;
    if (!counting) {
        return;
    }
    uint64_t* at = events_at((uint32_t)(uintptr_t)data);
    const uint32_t address = (uint32_t)full_address;
    const uint32_t n_bytes = 1u << qemu_plugin_mem_size_shift(access);
    const bool store = qemu_plugin_mem_is_store(access);
    const bool flash = full_address - arguments.flash < arguments.flash_bytes;
    at[UNALIGNED_LOADS] += !store && address % n_bytes != 0;
    const bool miss_16k = missed(&l1_16k_data, address);
    const bool miss_4k = missed(&l1_4k_data, address);
    if (!store && flash) {
        load_from_flash(at, address);
        at[L1_16K_DATA] += miss_16k;
        at[L1_4K_DATA] += miss_4k;
    }
}

static void on_translation(uint64_t id, struct qemu_plugin_tb* translated) {
    (void)id;
    const size_t n_insns = qemu_plugin_tb_n_insns(translated);
    struct Block* block = malloc(sizeof *block + n_insns * sizeof block->insns[0]);
    const struct qemu_plugin_insn* last = qemu_plugin_tb_get_insn(translated, n_insns - 1);
    const uint64_t start = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(translated, 0));
    const uint64_t end = qemu_plugin_insn_vaddr(last) + qemu_plugin_insn_size(last);
    if (block == NULL || start < arguments.code || end > arguments.code + arguments.code_bytes) {
        free(block); /* code elsewhere is not counted */
        return;
    }
    *block = (struct Block){.next = blocks, .start = (uint32_t)start, .end = (uint32_t)end, .n_insns = n_insns};
    blocks = block;
    for (size_t i = 0; i < n_insns; ++i) {
        struct qemu_plugin_insn* insn = qemu_plugin_tb_get_insn(translated, i);
        block->insns[i] = block->last = (uint32_t)qemu_plugin_insn_vaddr(insn);
        void* data = (void*)(uintptr_t)block->insns[i];
        qemu_plugin_register_vcpu_mem_cb(insn, on_access, NO_REGISTERS, LOADS_AND_STORES, data);
    }
    qemu_plugin_register_vcpu_tb_exec_cb(translated, on_block, NO_REGISTERS, block);
}

static void on_exit(uint64_t id, void* data) {
    (void)id;
    (void)data;
    fclose(file);
}

/* Value of an argument `name=value`; NULL where it is missing. */
static const char* argument(int argc, char** argv, const char* name) {
    const size_t length = strlen(name);
    for (int i = 0; i < argc; ++i) {
        if (strncmp(argv[i], name, length) == 0 && argv[i][length] == '=') {
            return &argv[i][length + 1];
        }
    }
    return NULL;
}

int qemu_plugin_install(uint64_t id, const void* info, int argc, char** argv) {
    (void)info;
    const char* names[] = {"start", "stop", "code", "code_bytes", "flash", "flash_bytes"};
    uint64_t* values[] = {&arguments.start,      &arguments.stop,  &arguments.code,
                          &arguments.code_bytes, &arguments.flash, &arguments.flash_bytes};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; ++i) {
        const char* text = argument(argc, argv, names[i]);
        if (text == NULL) {
            return -1;
        }
        *values[i] = strtoull(text, NULL, 10);
    }
    arguments.out = argument(argc, argv, "out");
    file = arguments.out == NULL ? NULL : fopen(arguments.out, "wb");
    events = calloc(arguments.code_bytes / 2 + 1, sizeof events[0]);
    if (file == NULL || events == NULL) {
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_atexit_cb(id, on_exit, NULL);
    return 0;
}
