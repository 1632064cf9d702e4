// A stand-in for libcuda.so.1. FAKE_VERSION, FAKE_GPUS and FAKE_MAJOR are set for each library that
// is made of it.
#include <cstdint>
#include <cstdio>

extern "C" {

uint32_t cuInit(unsigned /*flags*/) { return FAKE_GPUS == 0 ? 100 : 0; }
uint32_t cuDriverGetVersion(int* version) {
  *version = FAKE_VERSION;
  return 0;
}
uint32_t cuDeviceGetCount(int* count) {
  *count = FAKE_GPUS;
  return 0;
}
uint32_t cuDeviceGet(int* device, int ordinal) {
  *device = ordinal;
  return ordinal < FAKE_GPUS ? 0 : 101;
}
uint32_t cuDeviceGetName(char* name, int bytes, int /*device*/) {
  std::snprintf(name, static_cast<size_t>(bytes), "Fake GPU");
  return 0;
}
uint32_t cuDeviceGetAttribute(int* value, int attribute, int /*device*/) {
  *value = attribute == 75 ? FAKE_MAJOR : 0;
  return attribute == 75 || attribute == 76 ? 0 : 1;
}
}
