/* Windows of a convolution, copied side by side. */
#ifndef TS_MVE_WINDOWS_H
#define TS_MVE_WINDOWS_H

#include "ts_mve_inner.h"
#include "ts_window.h"

/* One pixel's window, with the zero point outside of the input; x points to the first channel of the group. */
void ts_mve_window(const TsMveWindows* layer, const int8_t* x, int32_t y, int32_t column, int8_t* to);

/* Columns of outputs whose windows are inside the input: [first, last). */
TsSpan ts_mve_columns_inside(const TsMveWindows* layer);

/* Neighbouring windows without padding, of consecutive rows of kernel width times channels; `step` from one to the
 * next in the input, `pitch` in the result. */
void ts_mve_copy_windows(const TsMveWindows* layer, const int8_t* from, int32_t step, int32_t n, int32_t pitch,
                         int8_t* to);

/* Whether a kernel row is contiguous in the input. */
static inline int ts_mve_is_contiguous(const TsMveWindows* layer) {
    return layer->group_inputs == layer->in_channels && (layer->dilation_width == 1 || layer->window.kernel_width == 1);
}

#endif
