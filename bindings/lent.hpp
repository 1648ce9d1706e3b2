#pragma once

#include <memory>
#include <utility>

namespace shoal::python {

/// A T lent to one call and then kept for the next one, with the buffers that it has.
///
/// Lent, since a call may release the GIL, and encoding and decoding may run Python code that puts or gets something
/// itself: each has a T of its own. Made and destroyed with the GIL held.
template <class T>
class lent {
 public:
  lent() : mine_(std::move(spare())) {
    if (mine_ == nullptr) {
      mine_ = std::make_unique<T>();
    }
  }
  lent(const lent&) = delete;
  lent& operator=(const lent&) = delete;
  ~lent() { spare() = std::move(mine_); }

  T& operator*() const noexcept { return *mine_; }
  T* operator->() const noexcept { return mine_.get(); }

 private:
  static std::unique_ptr<T>& spare() {
    static auto* const kept = new std::unique_ptr<T>();  // outlives the interpreter's own teardown
    return *kept;
  }

  std::unique_ptr<T> mine_;
};

}  // namespace shoal::python
