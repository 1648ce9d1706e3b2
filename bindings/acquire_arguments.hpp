#pragma once

#include <limits>

#include "plain_method.hpp"
#include "shoal/deadline.hpp"
#include "waiting.hpp"

namespace shoal::python {

/// What a call of acquire(block=True, timeout=None, *, raises=False) asks for. The clock is read only for the deadline,
/// since most locks are free: reading it is dearer than locking one.
class acquire_arguments {
 public:
  /// `has_raises`: whether there is a third parameter. @throws nb::python_error  TypeError, ValueError.
  acquire_arguments(const call_arguments& call, bool has_raises);

  [[nodiscard]] bool blocks() const noexcept { return blocks_ && timeout_ > 0; }
  [[nodiscard]] bool raises() const noexcept { return raises_; }
  /// In seconds; infinite if there is no limit.
  [[nodiscard]] double timeout() const noexcept { return blocks_ ? timeout_ : 0; }
  [[nodiscard]] deadline until() const { return blocks_ ? after(std::chrono::duration<double>(timeout_)) : no_waiting; }

 private:
  bool blocks_ = true;
  bool raises_ = false;
  double timeout_ = std::numeric_limits<double>::infinity();
};

}  // namespace shoal::python
