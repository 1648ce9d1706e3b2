#include "shoal/detail/barrier_base.hpp"

#include <stdexcept>
#include <string>

#include "shoal/error.hpp"
#include "sync/barrier_core.hpp"

namespace shoal::detail {
namespace {

std::unique_ptr<sync::barrier_core> make(std::ptrdiff_t expected) {
  static_assert(barrier_base::most_parties == sync::barrier_word::most_parties);
  if (expected < 1 || expected > barrier_base::most_parties) {
    throw std::invalid_argument("a barrier for " + std::to_string(expected) +
                                " threads was asked for; it can be for 1 to " +
                                std::to_string(barrier_base::most_parties) + ".");
  }
  return std::make_unique<sync::barrier_core>(static_cast<std::uint32_t>(expected));
}

void expect_unbroken(sync::barrier_result result) {
  if (result == sync::barrier_result::broken) {
    throw error(
        errc::broken_barrier,
        "The barrier is broken: a thread that waited there has died, was not met in time, or somebody has called "
        "abort() or reset(). Call reset() to use it again.");
  }
}

}  // namespace

barrier_base::barrier_base(std::ptrdiff_t expected) : core_(make(expected)) {}
barrier_base::barrier_base(slot_location handle) : core_(std::make_unique<sync::barrier_core>(handle)) {}
barrier_base::barrier_base(barrier_base&&) noexcept = default;
barrier_base& barrier_base::operator=(barrier_base&&) noexcept = default;
barrier_base::~barrier_base() = default;

void barrier_base::abort() noexcept { core_->abort(); }
void barrier_base::reset() noexcept { core_->reset(); }
bool barrier_base::is_broken() const noexcept { return core_->look().broken; }
slot_location barrier_base::native_handle() noexcept { return core_->location(); }

class barrier_base::party::state {
 public:
  explicit state(sync::barrier_core& core) : party_(core) {}

  /// Goes on with what can be interrupted. @return false if the time is over, and the barrier broken.
  template <class Attempt>
  bool finish(Attempt attempt) {
    for (;;) {
      const sync::barrier_result result = attempt(party_);
      if (result == sync::barrier_result::timed_out) {
        return party_.give_up() == sync::barrier_result::done;
      }
      if (result != sync::barrier_result::interrupted) {
        expect_unbroken(result);
        return true;
      }
    }
  }

  [[nodiscard]] sync::barrier_core::party& get() noexcept { return party_; }

 private:
  sync::barrier_core::party party_;
};

barrier_base::party::party(barrier_base& barrier) : state_(std::make_unique<state>(*barrier.core_)) {}
barrier_base::party::~party() = default;

bool barrier_base::party::arrive(deadline until) {
  return state_->finish([&](sync::barrier_core::party& mine) { return mine.arrive_until(until); });
}
bool barrier_base::party::arrive_and_drop(deadline until) {
  return state_->finish([&](sync::barrier_core::party& mine) { return mine.arrive_and_drop_until(until); });
}
bool barrier_base::party::wait(deadline until) {
  return state_->finish([&](sync::barrier_core::party& mine) { return mine.wait_until(until); });
}
bool barrier_base::party::is_last() const noexcept { return state_->get().is_last(); }
void barrier_base::party::complete() { expect_unbroken(state_->get().complete()); }
void barrier_base::party::give_up() noexcept { (void)state_->get().give_up(); }

}  // namespace shoal::detail
