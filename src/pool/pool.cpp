#include "shoal/pool.hpp"

#include <stdexcept>
#include <string>

#include "pool/pool_state.hpp"
#include "pool/processors.hpp"

namespace shoal {
namespace {

std::size_t checked(std::size_t workers) {
  if (workers == 0) {
    throw std::invalid_argument(
        "a pool of 0 workers was asked for; it needs at least 1. Without an argument there is one for each processor.");
  }
  return workers;
}

}  // namespace

process worker_initializer::start(const process_options& options, work_queue& tasks,
                                  const detail::worker_settings& settings) const {
  return start_ ? start_(options, tasks, settings)
                : process(options, &detail::prepare_and_work, std::ref(tasks), settings);
}

pool::pool() : pool(usable_processors()) {}
pool::pool(const pool_options& options) : pool(usable_processors(), options) {}
pool::pool(std::size_t workers, const pool_options& options)
    : size_(checked(workers)), forks_(options.method.value_or(get_start_method()) == start_method::fork) {
  impl_ = std::make_unique<impl>(workers, options);  // null until then, also in the workers: see state()
}

pool::~pool() {
  if (!impl_->is_owner()) {
    // A fork of the program that returns from main: workers and threads are the parent's.
    static_cast<void>(impl_.release());
  }
}

pool::impl& pool::state() const {
  // The first workers were forked while impl_ was null still.
  if (impl_ == nullptr || !impl_->is_owner()) {
    throw std::logic_error(
        "a pool was used in another process than the one that made it, such as in one of its own tasks. Return "
        "what is to be done next, and submit it where the result is received; or make another pool there.");
  }
  return *impl_;
}

void pool::check_forks() const {
  if (!forks_) {
    throw std::invalid_argument(
        "a function or an argument cannot be sent to the workers of this pool, which are no forks of this process: it "
        "is "
        "a lambda with captures, or another object whose members shoal::codec does not know. Pass what it needs as "
        "arguments, or use start_method::fork.");
  }
}

std::size_t pool::chunk_size_for(std::size_t items, const map_options& options) const {
  constexpr std::size_t chunks_per_worker = 8;
  constexpr std::size_t most = 1024;
  if (options.chunk_size != 0) {
    return options.chunk_size;
  }
  const task_options& defaults = state().defaults();
  if (options.tasks.timeout || defaults.timeout || options.tasks.retries.value_or(defaults.retries.value_or(0)) > 0) {
    return 1;
  }
  const std::size_t chunks = size() * chunks_per_worker;
  return std::clamp<std::size_t>((items + chunks - 1) / chunks, 1, most);
}

std::shared_ptr<detail::task_owner> pool::owner() const { return state().owner(); }

void pool::submit_one(detail::task_function run, std::span<const const_bytes> arguments,
                      std::shared_ptr<detail::completion> outcome, const task_options& options) {
  state().submit(run, arguments, std::move(outcome), options);
}

void pool::submit_batch(detail::task_function run, const detail::task_batch& batch, detail::completion& outcomes,
                        std::size_t& submitted, const task_options& options) {
  state().submit(run, batch, outcomes, submitted, options);
}

void pool::close() { state().close(); }
void pool::wait() { state().wait(); }
void pool::terminate() { state().terminate(); }

}  // namespace shoal
