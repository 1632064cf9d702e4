#include "check.h"

int main(int argc, char** argv) { return tandem::check::run(argc > 1 ? argv[1] : nullptr); }
