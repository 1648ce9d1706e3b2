#pragma once

namespace shoal {

/// Writes what waits in stdout, stderr and the C++ streams on them. Cheap where nothing does, in a new fork above all.
///
/// The standard streams and no others: fflush(nullptr) would wait for a thread that sits in a read of stdin, which
/// holds its lock.
void flush_standard_streams() noexcept;

}  // namespace shoal
