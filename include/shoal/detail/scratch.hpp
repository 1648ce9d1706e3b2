#pragma once

#include <cstddef>
#include <optional>

namespace shoal::detail {

/// Borrows this thread's one Buffer, which keeps its memory from call to call; makes another where it is already
/// borrowed (a codec that itself uses a queue) or gone (a destructor that runs after the thread's own).
template <class Buffer>
class scratch {
 public:
  scratch() : borrowed_(!unavailable()) {
    if (borrowed_) {
      unavailable() = true;
    } else {
      own_.emplace();
    }
  }

  ~scratch() {
    if (borrowed_) {
      if (shared().bytes().size() > kept_bytes) {
        shared() = Buffer();  // one huge value must not occupy its memory for the thread's lifetime
      }
      unavailable() = false;
    }
  }

  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;

  Buffer& operator*() { return borrowed_ ? shared() : *own_; }
  Buffer* operator->() { return &**this; }

 private:
  static constexpr std::size_t kept_bytes = 1 << 20;

  struct keeper {
    Buffer buffer;
    ~keeper() { unavailable() = true; }
  };

  static bool& unavailable() {
    thread_local bool value = false;  // has no destructor, so that it can still be asked when the keeper is gone
    return value;
  }
  static Buffer& shared() {
    thread_local keeper buffer;
    return buffer.buffer;
  }

  bool borrowed_;
  std::optional<Buffer> own_;
};

}  // namespace shoal::detail
