// How threads of the engine stand to the others of the process.
#pragma once

namespace tandem {

/// Lowers the calling thread's priority a little, so that a thread which sleeps most of the time,
/// as one that runs an event loop does, gets a processor as soon as it wakes, though the engine
/// keeps all of them busy. A thread that has a processor for itself runs as fast as before. Where
/// the system refuses, nothing changes.
void lower_thread_priority() noexcept;

}  // namespace tandem
