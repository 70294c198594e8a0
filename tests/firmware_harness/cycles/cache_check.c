/* Reads addresses as decimal numbers, accesses every simulated cache, and prints a line of misses (0 or 1) for each. */
#include "executed.c"

void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, OnTranslation call) {
    (void)id, (void)call;
}
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb* block, OnExecution call, int flags, void* data) {
    (void)block, (void)call, (void)flags, (void)data;
}
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn* insn, OnAccess call, int flags, int kinds, void* data) {
    (void)insn, (void)call, (void)flags, (void)kinds, (void)data;
}
void qemu_plugin_register_atexit_cb(uint64_t id, OnExit call, void* data) {
    (void)id, (void)call, (void)data;
}
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb* block) {
    return block == NULL ? 0 : 1;
}
struct qemu_plugin_insn* qemu_plugin_tb_get_insn(const struct qemu_plugin_tb* block, size_t index) {
    (void)block, (void)index;
    return NULL;
}
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn* insn) {
    return insn == NULL;
}
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn* insn) {
    return insn == NULL;
}
unsigned qemu_plugin_mem_size_shift(uint32_t access) {
    return access;
}
bool qemu_plugin_mem_is_store(uint32_t access) {
    return access != 0;
}

int main(void) {
    struct Cache* caches[] = {&art_code, &art_data, &icache, &l1_16k_code, &l1_16k_data, &l1_4k_code, &l1_4k_data};
    uint32_t address;
    while (scanf("%u", &address) == 1) {
        for (size_t i = 0; i < sizeof caches / sizeof caches[0]; ++i) {
            putchar(missed(caches[i], address) ? '1' : '0');
        }
        putchar('\n');
    }
    return 0;
}
