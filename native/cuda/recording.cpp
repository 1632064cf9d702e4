#include "cuda/recording.h"

#include <algorithm>

#include "cuda/check.h"

namespace tandem::cuda {
namespace {

// The edges of a graph can carry data since CUDA 12.3; CUDA 13 has no calls without it.
#if CUDART_VERSION >= 13000
cudaError_t captured(cudaStream_t stream, cudaStreamCaptureStatus* status,
                     const cudaGraphNode_t** nodes, size_t* count) {
  const cudaGraphEdgeData* edges = nullptr;
  return cudaStreamGetCaptureInfo(stream, status, nullptr, nullptr, nodes, &edges, count);
}
cudaError_t set_dependencies(cudaStream_t stream, cudaGraphNode_t* nodes, size_t count) {
  return cudaStreamUpdateCaptureDependencies(stream, nodes, nullptr, count,
                                             cudaStreamSetCaptureDependencies);
}
#else
cudaError_t captured(cudaStream_t stream, cudaStreamCaptureStatus* status,
                     const cudaGraphNode_t** nodes, size_t* count) {
  return cudaStreamGetCaptureInfo_v2(stream, status, nullptr, nullptr, nodes, count);
}
cudaError_t set_dependencies(cudaStream_t stream, cudaGraphNode_t* nodes, size_t count) {
  return cudaStreamUpdateCaptureDependencies(stream, nodes, count,
                                             cudaStreamSetCaptureDependencies);
}
#endif

}  // namespace

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
  check(set_dependencies(stream_, each.data(), each.size()), "a recording");
}

Recording::Ends Recording::ends() const {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  const cudaGraphNode_t* nodes = nullptr;
  size_t count = 0;
  check(captured(stream_, &status, &nodes, &count), "a recording");
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
