#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "pool/messages.hpp"
#include "pool/pool_state.hpp"
#include "shoal/error.hpp"

// How a pool submits tasks.
namespace shoal {
namespace {

using std::chrono::steady_clock;

// The caller keeps it until every outcome has come.
std::shared_ptr<detail::completion> borrowed(detail::completion& outcomes) {
  return {std::shared_ptr<void>(), &outcomes};
}

task_header header_for(const detail::code_location& code, const task_terms* terms) {
  return {.function = code.address,
          .name_size = static_cast<std::uint32_t>(code.name.size()),
          .is_timed = terms != nullptr && terms->timeout ? 1U : 0U};
}

}  // namespace

std::unique_ptr<task_terms> pool::impl::terms_of(detail::task_function run, std::span<const const_bytes> arguments,
                                                 const task_options& options) const {
  const auto timeout = options.timeout ? options.timeout : defaults_.timeout;
  const std::size_t retries = options.retries.value_or(defaults_.retries.value_or(0));
  if (!timeout && retries == 0) {
    return nullptr;
  }
  auto terms = std::make_unique<task_terms>();
  terms->timeout = timeout;
  terms->retries_left = retries;
  terms->run = run;
  if (retries > 0) {
    terms->retry_if = options.retry_if ? options.retry_if : defaults_.retry_if;
    for (const const_bytes part : arguments) {
      terms->arguments.insert(terms->arguments.end(), part.begin(), part.end());
    }
  }
  return terms;
}

void pool::impl::check_open_locked() const {
  if (ending_ != ending::none) {
    throw error(errc::closed, why_closed_ + ", so it takes no more tasks.");
  }
}

// Before it is submitted: the outcome may arrive before submit returns, and what can fail shall fail before.
void pool::impl::enter_locked(unfinished_task&& entered) {
  const std::uint64_t ticket = unfinished_.next_ticket();
  if (entered.terms != nullptr && entered.terms->timeout) {
    watch_locked(*entered.terms->timeout);
  }
  const unfinished_task& added = unfinished_.add(std::move(entered));
  added.outcome->submitted(added.index, ticket);
}

unfinished_task pool::impl::withdraw_locked() noexcept {
  unfinished_task last = unfinished_.withdraw();
  forget_locked(last);
  return last;
}

void pool::impl::watch_locked(std::chrono::nanoseconds timeout) {
  ++timeouts_[timeout];
  // The soonest that a task can be overdue is `timeout` from now.
  if (const deadline soonest = later_by(timeout, steady_clock::now()); soonest < looks_at_) {
    looks_at_ = soonest;
    supervisor_.look_again();
  }
}

void pool::impl::forget_locked(const unfinished_task& gone) noexcept {
  if (gone.terms != nullptr && gone.terms->timeout) {
    const auto found = timeouts_.find(*gone.terms->timeout);
    if (--found->second == 0) {
      timeouts_.erase(found);
    }
  }
}

void pool::impl::submit(detail::task_function run, std::span<const const_bytes> arguments,
                        std::shared_ptr<detail::completion> outcome, const task_options& options) {
  std::unique_ptr<task_terms> terms = terms_of(run, arguments, options);
  const std::lock_guard lock(mutex_);
  check_open_locked();
  submit_locked(run, arguments, {std::move(outcome), 0, unfinished_.next_ticket(), std::move(terms)});
}

// `entered` is as before if this throws.
void pool::impl::submit_locked(detail::task_function run, std::span<const const_bytes> arguments,
                               unfinished_task&& entered) {
  const detail::code_location code = detail::locate_code(reinterpret_cast<const void*>(run));
  const task_header header = header_for(code, entered.terms.get());
  std::array<const_bytes, 4> parts{bytes_of(header), code.name};
  std::ranges::copy(arguments, parts.begin() + 2);  // two at most
  enter_locked(std::move(entered));
  try {
    work_.submit(encoding::raw, std::span(parts).first(2 + arguments.size()));
  } catch (...) {
    entered = withdraw_locked();
    throw;
  }
}

void pool::impl::submit(detail::task_function run, const detail::task_batch& batch, detail::completion& outcomes,
                        std::size_t& submitted, const task_options& options) {
  const detail::code_location code = detail::locate_code(reinterpret_cast<const void*>(run));
  std::vector<std::unique_ptr<task_terms>> terms(batch.size());
  std::vector<const_bytes> parts;
  parts.reserve(3 * batch.size());
  std::vector<outgoing_record> records;
  records.reserve(batch.size());
  task_header header{};
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const const_bytes arguments = batch[i];
    terms[i] = terms_of(run, {&arguments, 1}, options);
    header = header_for(code, terms[i].get());
    parts.insert(parts.end(), {bytes_of(header), code.name, arguments});
    records.push_back({encoding::raw, std::span(parts).last(3)});
  }

  const std::lock_guard lock(mutex_);
  check_open_locked();
  std::size_t entered = 0;
  std::size_t pushed = 0;
  try {
    for (; entered < batch.size(); ++entered) {
      enter_locked({borrowed(outcomes), submitted + entered, unfinished_.next_ticket(), std::move(terms[entered])});
    }
    while (pushed < batch.size()) {
      work_.submit_many(std::span(records).subspan(pushed), pushed);
    }
  } catch (...) {
    for (; entered > pushed; --entered) {
      (void)withdraw_locked();
    }
    submitted += pushed;
    throw;
  }
  submitted += pushed;
}

}  // namespace shoal
