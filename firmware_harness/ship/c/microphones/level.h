/* Level of a signal, a first check of wiring and gain. */
#ifndef LEVEL_H
#define LEVEL_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint32_t count, clipped;
    int16_t least, most;
} Level;

/* Begin anew. */
static inline void level_clear(Level* level) {
    level->count = level->clipped = 0;
    level->least = INT16_MAX;
    level->most = INT16_MIN;
}

static inline void level_add(Level* level, const int16_t* samples, size_t count) {
    level->count += (uint32_t)count;
    for (size_t i = 0; i < count; ++i) {
        level->least = samples[i] < level->least ? samples[i] : level->least;
        level->most = samples[i] > level->most ? samples[i] : level->most;
        level->clipped += samples[i] == INT16_MAX || samples[i] == INT16_MIN;
    }
}

/* Half of the range from the least to the most, in thousandths of full scale. */
static inline int level_permille(const Level* level) {
    return level->count == 0 ? 0 : (level->most - level->least) * 500 / INT16_MAX;
}

/* What is wrong with the signal, or null. */
static inline const char* level_problem(const Level* level) {
    if (level->count == 0 || level->least == level->most) {
        return "no signal: check the wiring of the data pin";
    }
    if (level->clipped > level->count / 1000) {
        return "clipped: lower the gain";
    }
    return level_permille(level) < 1 ? "very quiet: raise the gain" : NULL;
}

#endif
