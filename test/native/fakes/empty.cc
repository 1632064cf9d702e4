// A library that opens and has nothing in it that anyone looks for.
extern "C" __attribute__((visibility("default"))) int tandem_nothing() { return 0; }
