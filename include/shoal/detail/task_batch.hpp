#pragma once

#include <cstddef>
#include <vector>

#include "shoal/encoder.hpp"
#include "shoal/record.hpp"

namespace shoal::detail {

/// The arguments of tasks that are to be submitted together.
class task_batch {
 public:
  /// What is appended to it up to end_task() are the arguments of the next task.
  [[nodiscard]] encoder& arguments() noexcept { return all_; }
  void end_task() { ends_.push_back(all_.bytes().size()); }

  [[nodiscard]] std::size_t size() const noexcept { return ends_.size(); }

  /// Enough to be worth a lock and a wake-up.
  [[nodiscard]] bool is_full() const noexcept { return ends_.size() >= 256 || all_.bytes().size() >= 65536; }

  [[nodiscard]] const_bytes operator[](std::size_t index) const noexcept {
    const std::size_t begin = index == 0 ? 0 : ends_[index - 1];
    return all_.bytes().subspan(begin, ends_[index] - begin);
  }

  void clear() noexcept {
    all_.clear();
    ends_.clear();
  }

 private:
  encoder all_;
  std::vector<std::size_t> ends_;
};

}  // namespace shoal::detail
