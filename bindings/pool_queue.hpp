#pragma once

#include <Python.h>
#include <nanobind/nanobind.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "os/forks.hpp"
#include "pool_job.hpp"
#include "shoal/work_queue.hpp"
#include "waiting.hpp"

namespace shoal::python {

/// How a task's function is called with what was sent.
enum class call_kind : std::uint8_t {
  call,      ///< function(*args, **kwds): sent is (args, kwds)
  item,      ///< function(sent)
  star,      ///< function(*sent)
  map,       ///< [function(each) for each in sent]
  star_map,  ///< [function(*each) for each in sent]
};

/// The last bytes of a task's record. Before them are the function's pickle, and at the beginning, where large buffers
/// find their place, the arguments.
struct task_trailer {
  static constexpr std::uint8_t keep_function = 1;  // the worker may use it again for a task with the same pickle
  static constexpr std::uint8_t timed = 2;          // the owner wants to know when it was begun

  std::uint32_t function_size;
  call_kind kind;
  std::uint8_t flags;
  std::uint16_t unused;
};
static_assert(sizeof(task_trailer) == 8);

/// What an outcome's note says.
enum class outcome_note : std::uint16_t { returned, raised };

/// How a function travels.
struct sent_function {
  nanobind::object bytes;  // its pickle
  bool by_reference = false;
};

/// Why submit_items made no more tasks.
enum class submitted_items : std::uint8_t {
  all,        ///< there are no more items, or the job has ended
  for_now,    ///< the job has no room; its `_consumed` will be called
  full,       ///< too much is in flight; see wait_for_room
  elsewhere,  ///< another thread is making them, and will look for room after this
};

/// shoal._core.WorkQueue: a work_queue of Python calls. The owner's side delivers outcomes to the jobs whose tasks they
/// are of; the worker's runs them. Needs the GIL, which calls that wait release.
class pool_queue {
 public:
  /// Less than a queue keeps of its memory when it is idle: making pages anew takes longer than copying what is in
  /// them.
  static constexpr std::size_t most_in_flight = 16 << 20;

  explicit pool_queue(work_queue queue) : queue_(std::move(queue)) {}

  [[nodiscard]] work_queue& native() noexcept { return queue_; }

  // The owner.

  /// Submits task `index` of `job`, unless it has ended. @throws nb::python_error  what pickling raises; shoal::error.
  void submit(const nanobind::object& job, std::size_t index, call_kind kind, nanobind::handle function,
              nanobind::handle arguments);

  /// Submits the next tasks of `job`, made of chunks of what `items` yields, as long as the job has room and this is
  /// not full. What cannot be sent fails, and so does what `items` raises. With `at_once`, for a thread of the pool,
  /// each is sent before the next item is asked for.
  /// @throws nb::python_error  unless at_once: what `items` and pickling raise, if it is no Exception.
  submitted_items submit_items(const nanobind::object& job, call_kind kind, nanobind::handle function,
                               const nanobind::object& items, bool at_once);

  // One thread at a time receives, for all. What it has to hold meanwhile is held here and not in Python, where a
  // signal handler may raise between any two steps.

  /// Waits until `job` is ready or the time is over; receives unless another thread does.
  void wait_for(nanobind::handle job, deadline until);

  /// Receives for jobs that no thread waits for, until somebody waits, nothing is expected, or wake() was called.
  void receive_unattended();

  /// Receives what is there, unless another thread does anyway.
  void look();

  /// Lets whoever waits look again.
  void wake();

  /// Has the supervisor see to it that somebody receives, unless it was asked to already: then `watching` is set.
  void expect() noexcept;

  /// The slots of workers whose loss has come out, after everything that they had finished. When one does, the bell
  /// rings.
  [[nodiscard]] std::vector<std::size_t> take_lost() { return std::exchange(lost_, {}); }

  /// Says that the worker in `slot` has ended; see work_queue.
  void lost(std::size_t slot);

  /// Whether outcomes are to be expected, or the news of a lost worker, or somebody is to be told something.
  [[nodiscard]] bool expects_something() const noexcept {
    return !open_.empty() || notices_ != 0 || !progressing_.empty() || !called_back_.empty() || !watched_.empty();
  }

  /// As work_queue's. If a worker is condemned the bell rings, and take_condemned is true: so it is killed even if a
  /// signal handler keeps the caller from it.
  work_queue::called_off call_off(std::uint64_t ticket);
  [[nodiscard]] bool take_condemned() noexcept { return std::exchange(some_condemned_, false); }
  [[nodiscard]] std::vector<std::size_t> condemned() const;  ///< the slots of such workers

  /// The job and the index of a task without an outcome; forgets it if `taking`.
  nanobind::object entry(std::uint64_t ticket, bool taking);

  /// The tickets of a job's tasks that have no outcome yet.
  [[nodiscard]] std::vector<std::uint64_t> tickets_of(nanobind::handle job) const;

  void open(const nanobind::object& job);  ///< unless it has ended
  void ended(nanobind::handle job);
  [[nodiscard]] std::vector<nanobind::object> open_jobs() const { return open_; }
  [[nodiscard]] std::size_t count_open() const noexcept { return open_.size(); }

  /// Closes the queue as soon as no job is open.
  void close_when_idle();
  void close();

  /// Whether so much is in flight that there should be no more: `most_in_flight` bytes, and two tasks for each worker.
  [[nodiscard]] bool is_full() const noexcept {
    return bytes_in_flight_ >= most_in_flight && tasks_in_flight_ >= 2 * (queue_.slot_count() - 1);
  }
  /// Waits until half of it is in flight, or `job` has ended.
  void wait_for_room(nanobind::handle job);

  /// Task `index` of `job` has failed, and nothing else will be heard of it.
  void fail(const nanobind::object& job, std::size_t index, const nanobind::object& error);

  [[nodiscard]] int attending() const noexcept { return attending_; }  ///< threads that wait for a job

  int bell = -1;             ///< an eventfd that the supervisor waits for
  bool watching = false;     ///< it will see that somebody receives
  nanobind::object refusal;  ///< if there is one, what jobs that begin from now on fail with

  /// A weak reference to who is told: _called_back(job), _retry(job, index, error), _sendable(function),
  /// _by_value(object, error). It has this queue, and lives as long as any job.
  nanobind::object weak_crew;
  [[nodiscard]] nanobind::object crew() const { return weak_crew(); }

  // The worker.

  /// Runs tasks until the queue is closed and empty, or `most` were run; what is no Exception leaves it.
  /// @param report  makes what is to be sent of an exception that a task raised, or that kept it from being read
  /// @param unsendable  makes what is to be sent instead of a result that could not be pickled: (error, result)
  /// @param left_behind  ends a process that a task has forked, and that came back from it
  void serve(std::size_t slot, std::optional<std::size_t> most, nanobind::handle report, nanobind::handle unsendable,
             nanobind::handle left_behind);

  int traverse(visitproc visit, void* argument);
  void clear();

 private:
  struct task_entry {
    nanobind::object job;
    pool_job* delivered_to = nullptr;  // the same
    std::size_t index = 0;
    std::size_t size = 0;
  };
  struct ticketed_batch;
  class sent_arguments;

  void push(std::vector<outgoing_record>& records, std::vector<task_entry>& entries);
  bool push_or_fail(ticketed_batch& batch);
  submitted_items submit_items_alone(const nanobind::object& job, pool_job& of, call_kind kind,
                                     nanobind::handle function, const nanobind::object& items, bool at_once);
  sent_function function_to_send(nanobind::handle function);
  static task_trailer trailer_for(const pool_job& job, const sent_function& function, call_kind kind);

  void check_owner() const;  // throws in a fork, which would receive what is its parent's

  class attendance;
  class reception;
  struct arrival;
  bool receive(const pool_job* awaited, deadline until);
  [[nodiscard]] bool is_mine() const noexcept;
  void wake_receiver();
  arrival& free_arrival();
  bool follow(deadline until);
  void tell_followers() noexcept;
  void tell_feeders() noexcept;
  void ring() const noexcept;
  void deliver_arrivals();
  void deliver(arrival& from, const outcome& received);
  void deliver_finished(arrival& from, const outcome& received);
  [[nodiscard]] nanobind::object decode(arrival& from, const outcome& received, bool& ok);
  [[nodiscard]] bool is_in_flight(const nanobind::object& job, std::size_t index) const;
  task_entry* find(std::uint64_t ticket);
  void forget(std::uint64_t ticket);
  void deliver_to(const nanobind::object& job, pool_job& of, std::size_t index, bool ok, nanobind::object value);
  void after_delivery(const nanobind::object& job, pool_job& of);
  void tell();
  void tell_progress(const nanobind::object& job);

  queue_status wait_for_task(std::size_t slot, taken_task& task);
  nanobind::object call(std::size_t slot, taken_task& task);
  void send(std::size_t slot, std::uint64_t ticket, nanobind::handle object, outcome_note note);
  nanobind::object received_function(const_bytes pickled, bool may_keep);

  work_queue queue_;
  std::uint64_t generation_ = os::generation();

  std::mutex submitting_;           // taken before the GIL is: entries are in the order of the tickets
  std::deque<task_entry> entries_;  // of tickets from first_entry_ on; without a job once there is an outcome
  std::uint64_t first_entry_ = 0;
  std::size_t bytes_in_flight_ = 0;  // of tasks without an outcome
  std::size_t tasks_in_flight_ = 0;
  int room_wanted_ = 0;                        // threads that wait for room,
  std::atomic<std::uint32_t> room_changes_{};  // asleep on this word
  std::vector<nanobind::object> open_;
  [[nodiscard]] bool has_room() const noexcept {
    return bytes_in_flight_ < most_in_flight / 2 || tasks_in_flight_ < 2 * (queue_.slot_count() - 1);
  }

  int attending_ = 0;
  unsigned long receiver_ = 0;              // the thread that receives; 0: none does
  int followers_ = 0;                       // threads that wait for that one,
  std::atomic<std::uint32_t> changes_{};    // asleep on this word
  std::vector<nanobind::object> unneeded_;  // pools of jobs that have ended: dropped where anything may happen
  bool closing_ = false;
  bool some_ready_ = false;
  bool some_condemned_ = false;

  // Outcomes that came together. What is delivered may run Python code that waits for another job in the same thread:
  // so there may be several, of which all but the last are being delivered.
  struct arrival {
    enum class state : std::uint8_t { todo, doing, done };

    outcome_batch batch;
    std::vector<state> states;
    std::size_t first = 0;  // before it there is nothing to do
    std::size_t doing = 0;
  };
  std::deque<arrival> arrivals_;
  std::deque<nanobind::object> progressing_;                    // jobs whose progress is to be told
  std::deque<nanobind::object> called_back_;                    // jobs that have ended, for `_called_back`
  std::deque<nanobind::object> watched_;                        // jobs that have ended, for `_tell`
  std::uint64_t interrupted_ = static_cast<std::uint64_t>(-1);  // the ticket at which decoding was
  std::size_t notices_ = 0;                                     // of lost workers, that have not come out
  std::vector<std::size_t> lost_;
  bool woken_ = false;

  nanobind::object last_function_;  // sent, by reference
  nanobind::object last_function_bytes_;

  std::vector<std::byte> kept_pickle_;  // the worker's last function
  nanobind::object kept_function_;
};

}  // namespace shoal::python
