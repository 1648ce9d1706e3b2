#include "shoal/condition_variable.hpp"

#include <limits>
#include <new>

#include "sync/wait_line.hpp"

namespace shoal {

condition_variable::condition_variable() : line_(std::make_shared<sync::wait_line>()) {}
condition_variable::condition_variable(native_handle_type handle) : line_(std::make_shared<sync::wait_line>(handle)) {}
condition_variable::condition_variable(condition_variable&&) noexcept = default;
condition_variable& condition_variable::operator=(condition_variable&&) noexcept = default;
condition_variable::~condition_variable() = default;

void condition_variable::notify_one() noexcept { line_->notify(1); }
void condition_variable::notify_all() noexcept { line_->notify(std::numeric_limits<std::uint32_t>::max()); }
slot_location condition_variable::native_handle() noexcept { return line_->location(); }

condition_variable::place::place(sync::wait_line& line) {
  static_assert(sizeof(sync::wait_line::place) <= size && alignof(sync::wait_line::place) <= alignof(void*));
  new (memory_) sync::wait_line::place(line);
}

condition_variable::place::~place() { std::launder(reinterpret_cast<sync::wait_line::place*>(memory_))->~place(); }

bool condition_variable::place::wait_until(deadline until) {
  auto& mine = *std::launder(reinterpret_cast<sync::wait_line::place*>(memory_));
  for (;;) {
    const sync::wait_result result = mine.wait_until(until);
    if (result != sync::wait_result::interrupted) {
      return result == sync::wait_result::done;
    }
  }
}

}  // namespace shoal
