#pragma once

#include <chrono>

#include "errors.hpp"
#include "shoal/detail/arena_slot.hpp"
#include "sync/thread_record.hpp"
#include "waiting.hpp"

namespace shoal::python {

/// Shows to others, for as long as it exists, that this thread waits for what is in a slot; after it has waited for a
/// second also where in its Python program, so that short waits cost nothing.
class shown_wait {
 public:
  /// @throws std::bad_alloc  no memory to know this thread.
  explicit shown_wait(const memory::arena_slot& slot)
      : slot_(slot), mark_(*sync::self_in(slot).record, slot), begin_(std::chrono::steady_clock::now()) {}
  shown_wait(const shown_wait&) = delete;
  shown_wait& operator=(const shown_wait&) = delete;
  ~shown_wait() {
    if (stack_shown_) {
      hide();
    }
  }

  /// Call it with the GIL, now and then.
  void update() noexcept {
    if (!stack_shown_ && std::chrono::steady_clock::now() - begin_ >= patience) {
      show();
    }
  }

 private:
  // A little less than the tick, after which those who sleep look around.
  static constexpr std::chrono::milliseconds patience{950};

  void show() noexcept;
  void hide() const noexcept;

  const memory::arena_slot& slot_;
  sync::waiting_mark mark_;
  std::chrono::steady_clock::time_point begin_;
  bool stack_shown_ = false;
};

/// The same as wait_without_gil, for something in shared memory: others can see it.
/// @throws nb::python_error  what a signal handler raised.
template <class Attempt, class Status>
[[nodiscard]] Status wait_visibly(const memory::arena_slot& slot, Attempt attempt, Status interrupted) {
  shown_wait shown(slot);
  for (;;) {
    Status status = interrupted;
    {
      const released_gil released;
      status = attempt();
    }
    if (status != interrupted) {
      return status;
    }
    run_signal_handlers();
    shown.update();
  }
}

}  // namespace shoal::python
