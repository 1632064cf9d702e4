// Parameters that are bytes in memory: who may read them, and floats in their place.
#include "core/byte_parameters.h"

#include <cstring>

#include "check.h"

namespace {

using namespace tandem;

/// x [-1, 3] times a weight of bytes [2, 3], then times one of floats [1, 2].
GraphDescription two_products() {
  auto quantization = std::make_shared<Quantization>();
  quantization->mode = QuantizationMode::kWeights;
  quantization->weight_scales = {0.5F, 2.0F};
  quantization->weight_is_bytes = true;
  GraphDescription graph;
  graph.inputs = {{"x", {-1, 3}, DType::kFloat32}};
  graph.parameters = {{"bytes", {2, 3}, false, {}, true}, {"floats", {1, 2}, true, {}, false}};
  graph.nodes = {{"linear", {0, 1}, {}, quantization}, {"linear", {3, 2}, {}, nullptr}};
  graph.outputs = {4};
  return graph;
}

TEST(bytes_become_floats_for_other_devices) {
  std::vector<GraphDescription> graphs = {two_products(), two_products()};
  const ParameterLayout layout = make_layout(graphs.front().parameters);
  HostParameters parameters{cpu_backend().allocate(layout.bytes), layout, nullptr};
  const int8_t bytes[] = {1, -2, 127, 0, 3, -127};
  const float floats[] = {0.25F, -4.0F};
  std::byte* const memory = parameters.memory.data.get();
  std::memcpy(memory + layout.offsets[0], bytes, sizeof bytes);
  std::memcpy(memory + layout.offsets[1], floats, sizeof floats);
  expand_bytes(parameters, graphs);
  const float wanted[] = {0.5F, -1.0F, 63.5F, 0.0F, 6.0F, -254.0F};
  const std::byte* const found = parameters.memory.data.get();
  CHECK(std::memcmp(found + parameters.layout.offsets[0], wanted, sizeof wanted) == 0);
  CHECK(std::memcmp(found + parameters.layout.offsets[1], floats, sizeof floats) == 0);
  for (const GraphDescription& graph : graphs) {
    CHECK(!graph.parameters[0].is_bytes);
    CHECK(!graph.nodes[0].quantization->weight_is_bytes);
  }
}

TEST(bytes_are_for_quantized_weights_alone) {
  const auto refuses = [](const GraphDescription& graph) {
    CHECK_THROWS(instantiate(graph, 1, false));
  };
  GraphDescription plain = two_products();
  plain.nodes[0].quantization = nullptr;
  refuses(plain);
  GraphDescription operand = two_products();
  operand.nodes.push_back({"relu", {1}, {}, nullptr});
  refuses(operand);
  GraphDescription output = two_products();
  output.outputs.push_back(1);
  refuses(output);
}

}  // namespace
