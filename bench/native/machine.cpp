#include <cstdio>
#include <fstream>
#include <string>

#include "core/backend.h"
#include "product.h"
#include "suite.h"

namespace tandem::bench {
namespace {

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

}  // namespace

void print_machine(const Options& options) {
  const CpuInfo info = cpu_info();
  std::string peers = describe_onednn();
  const std::string openblas = describe_openblas();
  if (!peers.empty() && !openblas.empty()) peers += ",";
  peers += openblas;
  std::printf(
      "{\"suite\":\"native\",\"machine\":{\"cpu\":\"%s\",\"threads\":%d,\"isa\":\"%s\"},"
      "\"peers\":{%s},\"quick\":%s}\n",
      processor().c_str(), options.processors, info.isa.c_str(), peers.c_str(),
      options.quick ? "true" : "false");
  std::fflush(stdout);
}

}  // namespace tandem::bench
