#include "shoal/event.hpp"

#include "sync/flag.hpp"

namespace shoal {

event::event() : flag_(std::make_unique<sync::flag>()) {}
event::event(native_handle_type handle) : flag_(std::make_unique<sync::flag>(handle)) {}
event::event(event&&) noexcept = default;
event& event::operator=(event&&) noexcept = default;
event::~event() = default;

bool event::is_set() const noexcept { return flag_->is_set(); }
void event::set() noexcept { flag_->set(); }
void event::clear() noexcept { flag_->clear(); }

void event::wait() {
  while (!wait_until(forever)) {
  }
}

bool event::wait_until(deadline until) {
  const std::uint32_t generation = flag_->generation();
  for (;;) {
    const sync::wait_result result = flag_->wait_until(generation, until);
    if (result != sync::wait_result::interrupted) {
      return result == sync::wait_result::done;
    }
  }
}

int event::readiness_handle() { return flag_->descriptor(); }
slot_location event::native_handle() { return flag_->location(); }

}  // namespace shoal
