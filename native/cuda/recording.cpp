#include "cuda/recording.h"

#include <algorithm>

#include "cuda/check.h"

namespace tandem::cuda {

Recording::Recording(cudaStream_t stream) : stream_(stream) {
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "a recording");
}

Recording::~Recording() {
  if (!open_) return;
  cudaGraph_t raw = nullptr;
  static_cast<void>(cudaStreamEndCapture(stream_, &raw));
  const RecordedGraph dropped(raw);
  static_cast<void>(cudaGetLastError());
}

void Recording::follow(const Ends& nodes) {
  Ends each = nodes;  // once: an edge may not be there twice
  std::sort(each.begin(), each.end());
  each.erase(std::unique(each.begin(), each.end()), each.end());
  check(cudaStreamUpdateCaptureDependencies(stream_, each.data(), nullptr, each.size(),
                                            cudaStreamSetCaptureDependencies),
        "a recording");
}

Recording::Ends Recording::ends() const {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  const cudaGraphNode_t* nodes = nullptr;
  const cudaGraphEdgeData* edges = nullptr;
  size_t count = 0;
  check(cudaStreamGetCaptureInfo(stream_, &status, nullptr, nullptr, &nodes, &edges, &count),
        "a recording");
  return {nodes, nodes + count};
}

GraphExec Recording::finish() {
  cudaGraph_t raw = nullptr;
  open_ = false;
  const cudaError_t status = cudaStreamEndCapture(stream_, &raw);
  const RecordedGraph graph(raw);
  check(status, "a recording");
  cudaGraphExec_t executable = nullptr;
  check(cudaGraphInstantiate(&executable, graph.get(), 0), "a graph");
  GraphExec recorded(executable);
  check(cudaGraphUpload(recorded.get(), stream_), "a graph");
  return recorded;
}

}  // namespace tandem::cuda
