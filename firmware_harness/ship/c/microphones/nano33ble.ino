// Labels and level of the PDM microphone of an Arduino Nano 33 BLE Sense on the serial monitor, a line for each hop.
#include <PDM.h>
#include <product.h>

#include "level.h"
#include "ring.h"

#if PRODUCT_SAMPLE_RATE_HZ != 16000
#error "the library PDM records at 16 kHz: export a network whose front end has that sample rate"
#endif

static const size_t BLOCK_SAMPLES = 256;
static const char* const labels[] = PRODUCT_LABELS;

static product_state state;
static int8_t arena[PRODUCT_ARENA_BYTES] __attribute__((aligned(PRODUCT_ARENA_ALIGNMENT)));
static int16_t block[BLOCK_SAMPLES];
static Ring ring;
static Level level;
static uint32_t lost_before = 0;
static bool ready = false;

// Called in an interrupt.
static void on_samples() {
    static int16_t samples[BLOCK_SAMPLES];
    const int bytes = PDM.read(samples, sizeof samples);
    for (size_t i = 0; i < (size_t)bytes / sizeof samples[0]; ++i) {
        ring_put(&ring, samples[i]);
    }
}

static void on_report(void* context, const product_report* report) {
    (void)context;
    if (report->event != PRODUCT_HOP) {
        if (report->status != PRODUCT_OK) {
            Serial.println("the self-test failed");
        }
        return;
    }
    Serial.print(labels[report->smoothed_label]);
    Serial.print(", level / 1000: ");
    Serial.println(level_permille(&level));
    const char* problem = level_problem(&level);
    if (problem != NULL) {
        Serial.println(problem);
    }
    if (ring.lost != lost_before) {
        Serial.println("samples lost: the processor is too slow");
        lost_before = ring.lost;
    }
    level_clear(&level);
}

void setup() {
    Serial.begin(115200);
    level_clear(&level);
    ready = product_init(&state, arena, on_report, NULL) == PRODUCT_OK;
    PDM.onReceive(on_samples);
    PDM.setBufferSize(sizeof block);
    if (ready && !PDM.begin(1, PRODUCT_SAMPLE_RATE_HZ)) {
        Serial.println("the microphone cannot be started");
        ready = false;
    }
}

void loop() {
    const size_t count = ring_take(&ring, block, BLOCK_SAMPLES);
    if (ready && count > 0) {
        level_add(&level, block, count);
        product_process_pcm(&state, block, count);
        ready = product_check_step(&state, 256) >= 0;
    }
}
