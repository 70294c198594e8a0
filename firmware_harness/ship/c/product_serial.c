/* Commands and responses of the MLPerf Tiny reference submissions' firmware (github.com/mlcommons/tiny,
 * benchmark/api). In addition, no input is written past its end, and commands that are too long or out of order are
 * refused. */
#include "product_serial.h"

#include <string.h>

enum { DEFAULT_INFERENCES = 1, DEFAULT_WARM_UPS = 10, DEFAULT_PRINTED = 16, PRINTED_IN_A_LINE = 8 };

static void put(const product_serial* serial, const char* text) {
    serial->port->write(serial->port->context, text, strlen(text));
}

static void put_line(const product_serial* serial, const char* before, const char* middle, const char* after) {
    put(serial, before);
    put(serial, middle);
    put(serial, after);
    put(serial, "\r\n");
}

/* The number with at least `digits` digits, before the end of a buffer of 24 characters. */
static const char* decimal(char text[24], uint64_t value, int digits) {
    char* at = text + 23;
    *at = '\0';
    for (; value != 0 || digits > 0; value /= 10, --digits) {
        *--at = (char)('0' + (int)(value % 10));
    }
    return at;
}

static void put_number(const product_serial* serial, const char* before, uint64_t value, const char* after) {
    char text[24];
    put_line(serial, before, decimal(text, value, 1), after);
}

static void put_time(const product_serial* serial) {
    put_number(serial, "m-lap-us-", serial->port->microseconds(serial->port->context), "");
}

/* The next word of a command, or an empty one. */
static const char* next_word(char** rest) {
    char* word = *rest;
    while (*word == ' ') {
        ++word;
    }
    char* end = word;
    while (*end != '\0' && *end != ' ') {
        ++end;
    }
    *rest = *end == '\0' ? end : end + 1;
    *end = '\0';
    return word;
}

/* The next word as a number; `otherwise` without a word, below zero if it is not a number. */
static int32_t next_number(char** rest, int32_t otherwise) {
    const char* word = next_word(rest);
    int32_t value = 0;
    if (*word == '\0') {
        return otherwise;
    }
    for (; *word != '\0'; ++word) {
        if (*word < '0' || *word > '9' || value > 99999999) {
            return -1;
        }
        value = 10 * value + (*word - '0');
    }
    return value;
}

static int hexadecimal(char digit) {
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    const char lower = (char)(digit | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static void load(product_serial* serial, int32_t size) {
    if (size <= 0) {
        put_line(serial, "e-[Command 'db load' must be >0 bytes]", "", "");
    } else if (size > PRODUCT_SERIAL_INPUT_BYTES) {
        put_number(serial, "e-[Buffer is smaller: ", PRODUCT_SERIAL_INPUT_BYTES, " bytes]");
    } else {
        serial->wanted = (size_t)size;
        serial->loaded = 0;
        put_number(serial, "m-[Expecting ", (uint64_t)size, " bytes]");
    }
}

#ifdef PRODUCT_SERIAL_FLOAT

/* The code of a real number, rounded half to even: adding 1.5 * 2^23 leaves no bits for the fraction. */
static int8_t quantised(float real) {
    float scaled = real / PRODUCT_INPUT_SCALE;
    scaled = scaled > -512.0f ? scaled : -512.0f; /* also for NaN */
    scaled = scaled < 512.0f ? scaled : 512.0f;
    const int32_t code = (int32_t)((scaled + 0x1.8p23f) - 0x1.8p23f) + PRODUCT_INPUT_ZERO_POINT;
    return (int8_t)(code < -128 ? -128 : code > 127 ? 127 : code);
}

/* Every fourth byte completes a real number. */
static void take(product_serial* serial, uint8_t byte) {
    const size_t at = serial->loaded++;
    serial->word = serial->word >> 8 | (uint32_t)byte << 24;
    if (at % 4 == 3) {
        float real;
        memcpy(&real, &serial->word, sizeof real);
        serial->input[at / 4] = quantised(real);
    }
}

#else

static void take(product_serial* serial, uint8_t byte) {
    const int value = byte ^ PRODUCT_SERIAL_FLIP;
    serial->input[serial->loaded++] = (int8_t)(value < 128 ? value : value - 256);
}

#endif

static void take_bytes(product_serial* serial, const char* digits) {
    if (strlen(digits) % 2 != 0) {
        put_line(serial, "e-[Insufficent number of hex digits]", "", "");
        return;
    }
    if (serial->wanted == 0) {
        put_line(serial, "e-[Command 'db load' must come first]", "", "");
        return;
    }
    for (; *digits != '\0' && serial->loaded < serial->wanted; digits += 2) {
        const int high = hexadecimal(digits[0]), low = hexadecimal(digits[1]);
        if (high < 0 || low < 0) {
            const char pair[] = {digits[0], digits[1], '\0'};
            put_line(serial, "e-[Invalid hex digit '", pair, "']");
            return;
        }
        take(serial, (uint8_t)(16 * high + low));
        if (serial->loaded == serial->wanted) {
            put_line(serial, "m-load-done", "", "");
        }
    }
}

/* The bytes received; of real numbers their codes. */
static void print_bytes(const product_serial* serial, int32_t count, int32_t offset) {
    const size_t begin = offset < 0 ? 0 : (size_t)offset;
    const size_t available = serial->loaded / (PRODUCT_SERIAL_INPUT_BYTES / PRODUCT_INPUT_BYTES);
    for (size_t i = begin; i < available && i - begin < (size_t)(count < 0 ? 0 : count); ++i) {
        const uint8_t byte = (uint8_t)((uint8_t)serial->input[i] ^ PRODUCT_SERIAL_FLIP);
        const char text[] = {"0123456789abcdef"[byte >> 4], "0123456789abcdef"[byte & 15], '\0'};
        const size_t column = (i - begin) % PRINTED_IN_A_LINE;
        const int last = column == PRINTED_IN_A_LINE - 1 || i + 1 == available || i + 1 - begin == (size_t)count;
        put(serial, column == 0 ? "m-buffer-" : "");
        put(serial, text);
        put(serial, last ? "\r\n" : "-");
    }
}

static void handle_buffer(product_serial* serial, char* rest) {
    const char* word = next_word(&rest);
    if (*word == '\0') {
        put_line(serial, "e-[Command 'db' requires a subcommand]", "", "");
    } else if (strcmp(word, "load") == 0) {
        load(serial, next_number(&rest, 0));
    } else if (strcmp(word, "print") == 0) {
        const int32_t count = next_number(&rest, DEFAULT_PRINTED);
        print_bytes(serial, count, next_number(&rest, 0));
    } else {
        take_bytes(serial, word);
    }
}

#ifdef PRODUCT_SERIAL_SOFTMAX

/* Probability of an output in billionths. */
static int64_t billionths(const product_serial* serial, size_t index) {
    int highest = serial->output[0];
    uint64_t sum = 0;
    for (size_t i = 1; i < PRODUCT_OUTPUT_BYTES; ++i) {
        highest = serial->output[i] > highest ? serial->output[i] : highest;
    }
    for (size_t i = 0; i < PRODUCT_OUTPUT_BYTES; ++i) {
        sum += product_serial_weights[highest - serial->output[i]];
    }
    return (int64_t)((product_serial_weights[highest - serial->output[index]] * UINT64_C(1000000000) + sum / 2) / sum);
}

#else

/* Real value of an output in billionths. */
static int64_t billionths(const product_serial* serial, size_t index) {
    static const int64_t step = (int64_t)((double)PRODUCT_OUTPUT_SCALE * 1e9 + 0.5);
    return step * (serial->output[index] - PRODUCT_OUTPUT_ZERO_POINT);
}

#endif

/* Real numbers with six decimals, without printf's support for them. */
static void put_results(const product_serial* serial) {
    char text[24];
    put(serial, "m-results-[");
    for (size_t i = 0; i < PRODUCT_OUTPUT_BYTES; ++i) {
        const int64_t value = billionths(serial, i);
        const uint64_t millionths = ((uint64_t)(value < 0 ? -value : value) + 500) / 1000;
        put(serial, i > 0 ? "," : "");
        put(serial, value < 0 ? "-" : "");
        put(serial, decimal(text, millionths / 1000000, 1));
        put(serial, ".");
        put(serial, decimal(text, millionths % 1000000, 6));
    }
    put(serial, "]\r\n");
}

static int infer_times(product_serial* serial, int32_t times) {
    int status = PRODUCT_OK;
    for (; times > 0 && status == PRODUCT_OK; --times) {
        status = product_invoke(serial->model, serial->input, serial->output);
    }
    if (status != PRODUCT_OK) {
        put_number(serial, "e-[Inference refused, error -", (uint64_t)-status, "]");
    }
    return status;
}

static void infer(product_serial* serial, char* rest) {
    const int32_t inferences = next_number(&rest, DEFAULT_INFERENCES);
    const int32_t warm_ups = next_number(&rest, DEFAULT_WARM_UPS);
    if (inferences <= 0) {
        put_line(serial, "e-[Inference iterations must be >0]", "", "");
    } else if (warm_ups < 0) {
        put_line(serial, "e-[Inference warmup must be >=0]", "", "");
    } else if (serial->loaded != PRODUCT_SERIAL_INPUT_BYTES) {
        put_number(serial, "e-[Input is not loaded: ", PRODUCT_SERIAL_INPUT_BYTES, " bytes wanted]");
    } else {
        put_number(serial, "m-warmup-start-", (uint64_t)warm_ups, "");
        if (infer_times(serial, warm_ups) != PRODUCT_OK) {
            return;
        }
        put_line(serial, "m-warmup-done", "", "");
        put_number(serial, "m-infer-start-", (uint64_t)inferences, "");
        put_time(serial);
        if (infer_times(serial, inferences) != PRODUCT_OK) {
            return;
        }
        put_time(serial);
        put_line(serial, "m-infer-done", "", "");
        put_results(serial);
    }
}

static void put_help(const product_serial* serial) {
    put(serial, "name         : the board's name\r\n"
                "timestamp    : microseconds since some time\r\n"
                "profile      : protocol and model\r\n"
                "db load N    : N bytes of input will follow\r\n"
                "db HH[HH]*   : the next of them\r\n"
                "db print [N=16] [OFFSET=0]\r\n"
                "infer N [W]  : W inferences to warm up (10), N to measure\r\n"
                "results      : the last output\r\n");
}

static void answer(product_serial* serial) {
    char* rest = serial->command;
    const char* word = next_word(&rest);
    if (serial->length > PRODUCT_SERIAL_COMMAND_BYTES) {
        put_number(serial, "e-[Command is longer than ", PRODUCT_SERIAL_COMMAND_BYTES, " characters]");
    } else if (strcmp(word, "name") == 0) {
        put_line(serial, "m-name-dut-[tinyscene]", "", "");
    } else if (strcmp(word, "timestamp") == 0) {
        put_time(serial);
    } else if (strcmp(word, "profile") == 0) {
        put_line(serial, "m-profile-[ULPMark for tinyML Firmware V0.0.1]", "", ""); /* runners look for this name */
        put_line(serial, "m-model-[", PRODUCT_SERIAL_MODEL, "]");
    } else if (strcmp(word, "help") == 0) {
        put_help(serial);
    } else if (strcmp(word, "db") == 0) {
        handle_buffer(serial, rest);
    } else if (strcmp(word, "infer") == 0) {
        infer(serial, rest);
    } else if (strcmp(word, "results") == 0) {
        put_results(serial);
    } else if (*word != '\0') {
        put_line(serial, "e-[Unknown command: ", word, "]");
    }
    put_line(serial, "m-ready", "", "");
}

void product_serial_serve(product_serial* serial, const product_serial_port* port, product_state* model) {
    int byte;
    memset(serial, 0, sizeof *serial);
    serial->port = port;
    serial->model = model;
    put_line(serial, "m-timestamp-mode-performance", "", "");
    put_time(serial);
    put_line(serial, "m-init-done", "", "");
    put_line(serial, "m-ready", "", "");
    while ((byte = port->read(port->context)) >= 0) {
        if (byte == '%') {
            serial->command[serial->length < PRODUCT_SERIAL_COMMAND_BYTES ? serial->length
                                                                          : PRODUCT_SERIAL_COMMAND_BYTES] = '\0';
            answer(serial);
            serial->length = 0;
        } else if (byte != '\r' && byte != '\n') {
            if (serial->length < PRODUCT_SERIAL_COMMAND_BYTES) {
                serial->command[serial->length] = (char)byte;
            }
            serial->length += serial->length <= PRODUCT_SERIAL_COMMAND_BYTES;
        }
    }
}
