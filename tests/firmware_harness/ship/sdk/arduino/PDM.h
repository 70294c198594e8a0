#ifndef PDM_H
#define PDM_H
#include <stddef.h>
class PDMClass {
  public:
    int begin(int channels, int sampleRate);
    int read(void* buffer, size_t size);
    void onReceive(void (*)(void));
    void setBufferSize(int bufferSize);
};
extern PDMClass PDM;
#endif
