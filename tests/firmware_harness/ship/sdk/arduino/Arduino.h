#ifndef ARDUINO_H
#define ARDUINO_H
#include <stddef.h>
#include <stdint.h>
class SerialLine {
  public:
    void begin(unsigned long baud);
    size_t print(const char* text);
    size_t println(const char* text);
    size_t println(int number);
};
extern SerialLine Serial;
void setup();
void loop();
#endif
