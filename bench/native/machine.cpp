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
  std::string extensions;
  for (const std::string& name : cpu_extensions())
    extensions += (extensions.empty() ? "\"" : ",\"") + name + "\"";
  std::string peers = describe_onednn();
  const std::string openblas = describe_openblas();
  if (!peers.empty() && !openblas.empty()) peers += ",";
  peers += openblas;
  std::printf(
      "{\"suite\":\"native\",\"machine\":{\"cpu\":\"%s\",\"threads\":%d,\"isa\":\"%s\","
      "\"extensions\":[%s]},\"peers\":{%s},\"quick\":%s}\n",
      processor().c_str(), options.processors, cpu_info().isa.c_str(), extensions.c_str(),
      peers.c_str(), options.quick ? "true" : "false");
  std::fflush(stdout);
}

}  // namespace tandem::bench
