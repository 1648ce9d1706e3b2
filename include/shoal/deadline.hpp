#pragma once

#include <chrono>

namespace shoal {

/// A point on the monotonic clock until which a call may block.
using deadline = std::chrono::steady_clock::time_point;

inline constexpr deadline no_waiting = deadline::min();  ///< the call returns at once
#ifndef forever  // In a source that has included Qt, this is a macro: say deadline::max(), as our headers do.
inline constexpr deadline forever = deadline::max();  ///< the call has no time limit
#endif

/// The deadline `timeout` from now; saturates at deadline::max(), and a negative timeout is `no_waiting`.
template <class Rep, class Period>
[[nodiscard]] deadline after(std::chrono::duration<Rep, Period> timeout) {
  using seconds = std::chrono::duration<double>;
  if (!(timeout > timeout.zero())) {  // also NaN
    return no_waiting;
  }
  // Compared as seconds in floating point: adding first would overflow for durations such as hours::max().
  const deadline now = std::chrono::steady_clock::now();
  if (seconds(timeout) >= seconds(deadline::max() - now)) {
    return deadline::max();
  }
  return now + std::chrono::ceil<std::chrono::steady_clock::duration>(timeout);
}

}  // namespace shoal
