// Where the threads of this process run, ours and those of the peers.
#pragma once

namespace tandem::bench {

/// Gives the threads that came since the last call processors of their own: the calling thread the
/// first one, the others the following ones. To be called before another library makes its threads.
/// Without it a thread that wakes while all processors
/// are busy, if only with something of low priority, may share the processor of the thread that
/// woke it for some ten milliseconds, and whom that hits is chance.
void pin_new_threads();

/// How often a thread of this process had to leave its processor to another one.
long times_interrupted();

/// Returns when no other thread of the process runs. Threads of OpenMP and OpenBLAS keep their
/// processors for a while after the work is done, which must not be the next one's trouble.
void wait_until_quiet();

}  // namespace tandem::bench
