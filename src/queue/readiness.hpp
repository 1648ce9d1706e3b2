#pragma once

#include "os/shared_event_fd.hpp"
#include "queue/layout.hpp"

namespace shoal::queue {

/// A descriptor that polls readable while a condition holds, at no cost until somebody asks for it.
///
/// Invariant: while it is polled, the condition implies readable, at every instruction. So whoever makes the condition
/// true raises it *before* the COMMIT, and whoever lowers it has made sure, under the lock that guards its state, that
/// the condition does not hold. A kill in between leaves `changing`, with which both do what they would do with the
/// opposite.
class readiness {
 public:
  explicit readiness(readiness_word& word) : word_(&word) {}
  readiness(readiness_word& word, os::event_fd made) : word_(&word), fd_(std::move(made)) {}
  /// One that nobody will ask for: it takes no descriptor, not even at a fork.
  static readiness never(readiness_word& word) { return {word, os::event_fd(os::file_descriptor())}; }

  [[nodiscard]] int descriptor() { return fd_.get(); }

  [[nodiscard]] bool is_polled() const noexcept { return word_->polled.load(std::memory_order_relaxed) != 0; }
  [[nodiscard]] bool may_be_raised() const noexcept {
    return word_->state.load(std::memory_order_relaxed) != readiness_state::lowered;
  }

  /// What the descriptor itself says.
  [[nodiscard]] bool is_readable() const noexcept { return fd_.is_raised(); }

  // Under the lock.

  /// From now on it is kept. `holds`: whether the condition does.
  void start(bool holds) {
    (void)fd_.get();
    if (holds) {
      raise();
    }
    word_->polled.store(1, std::memory_order_relaxed);  // COMMIT: from now on others raise it
  }

  void raise_if_polled() noexcept {
    if (is_polled()) {
      raise();
    }
  }

  /// @return whether somebody else may have raised it too: the system, when a process died (see os::death_notice).
  bool lower() noexcept {
    const bool was_raised = word_->state.load(std::memory_order_relaxed) == readiness_state::raised;
    word_->state.store(readiness_state::changing, std::memory_order_relaxed);
    const std::uint64_t count = fd_.lower();
    word_->state.store(readiness_state::lowered, std::memory_order_release);
    return count > (was_raised ? 1U : 0U);
  }

  /// Has edge-triggered pollers look again, where it stays raised though somebody was told that the condition does not
  /// hold. Under the lock without which nobody lowers it.
  void raise_anew() const noexcept { fd_.raise(); }

  /// Undoes a lower(), so that the next one says the same.
  void raise_again() noexcept {
    word_->state.store(readiness_state::changing, std::memory_order_relaxed);
    fd_.raise();
  }

 private:
  void raise() noexcept {
    if (word_->state.load(std::memory_order_relaxed) != readiness_state::raised) {
      word_->state.store(readiness_state::changing, std::memory_order_relaxed);
      fd_.raise();
      word_->state.store(readiness_state::raised, std::memory_order_release);
    }
  }

  readiness_word* word_;
  os::shared_event_fd fd_;
};

}  // namespace shoal::queue
