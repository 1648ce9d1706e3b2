#pragma once

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace shoal::sync {

/// Tells the processor that this is a spin-wait loop.
inline void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

inline void pause_for(int count) noexcept {
  for (int i = 0; i < count; ++i) {
    pause();
  }
}

/// True if this process may run on more than one processor; where not, whoever is waited for cannot run while we spin.
[[nodiscard]] bool has_several_cpus() noexcept;

}  // namespace shoal::sync
