#include "shoal/byte_queue.hpp"

#include <memory>
#include <stdexcept>
#include <utility>

#include "queue/handle.hpp"

namespace shoal {

using queue::shared_queue;
using queue_detail::everybody;
using queue_detail::handle;

byte_queue::byte_queue(const queue_options& options) : handle_(std::make_shared<handle>(options)) {}
byte_queue::byte_queue(std::shared_ptr<handle> state) noexcept : handle_(std::move(state)) {}
byte_queue byte_queue::attach(queue_descriptors descriptors) {
  return byte_queue(std::make_shared<handle>(descriptors));
}
byte_queue::byte_queue(byte_queue&&) noexcept = default;
byte_queue& byte_queue::operator=(byte_queue&&) noexcept = default;
byte_queue::~byte_queue() = default;

queue_status byte_queue::push(encoding tag, std::span<const const_bytes> parts, deadline until) {
  return handle_->push(tag, parts, until);
}
queue_status byte_queue::push_many(std::span<const outgoing_record> records, std::size_t& pushed, deadline until) {
  return handle_->push_many(records, pushed, until);
}
queue_status byte_queue::reserve(reserved_record& out, std::size_t size, deadline until) {
  return handle_->reserve(out, size, until);
}
queue_status byte_queue::push(encoding tag, reserved_record& ready, deadline until) {
  return handle_->push(tag, ready, until);
}

queue_status byte_queue::pop(record& out, deadline until) { return handle_->pop(out, nullptr, until); }
queue_status byte_queue::pop(record& out, std::atomic<std::uint64_t>& claim, deadline until) {
  return handle_->pop(out, &claim, until);
}
queue_status byte_queue::pop_many(record_batch& out, std::size_t most, deadline until) {
  return handle_->pop_many(out, most, until);
}
queue_status byte_queue::pop_many(record_batch& out, borrowed_record& large_one, std::size_t most, deadline until) {
  return handle_->pop_many(out, large_one, most, until);
}
queue_status byte_queue::borrow(borrowed_record& out, deadline until) { return handle_->borrow(out, nullptr, until); }
queue_status byte_queue::borrow(borrowed_record& out, std::atomic<std::uint64_t>& claim, deadline until) {
  return handle_->borrow(out, &claim, until);
}
queue_status byte_queue::pop(lease& out, deadline until) { return handle_->pop(out, until); }

std::uint64_t byte_queue::pushed() const noexcept { return handle_->shared().pushed(); }
std::uint64_t byte_queue::popped() const noexcept { return handle_->shared().popped(); }
std::size_t byte_queue::size() const noexcept { return handle_->shared().size(); }
bool byte_queue::full() const noexcept { return handle_->shared().is_full(); }
std::size_t byte_queue::leased() const noexcept { return handle_->shared().leased(); }
std::size_t byte_queue::bytes() const noexcept { return handle_->shared().bytes(); }
std::size_t byte_queue::capacity() const noexcept { return handle_->shared().capacity(); }
std::size_t byte_queue::capacity_bytes() const noexcept { return handle_->shared().capacity_bytes(); }
bool byte_queue::closed() const noexcept { return handle_->shared().is_closed(); }
queue_descriptors byte_queue::descriptors() const { return handle_->shared().descriptors(); }

queue_status byte_queue::close(deadline until) {
  shared_queue& queue = handle_->shared();
  const queue_status status = handle::locked([&] { return queue.close(until); }, until);
  if (status == queue_status::ok) {
    queue.items().notify(everybody);
    queue.space().notify(everybody);
  }
  return status;
}

void byte_queue::close() {
  while (close(forever) != queue_status::ok) {
  }
}

queue_status byte_queue::clear(std::size_t& dropped, deadline until) {
  shared_queue& queue = handle_->shared();
  const queue_status status = handle::locked([&] { return queue.clear(dropped, until); }, until);
  if (status == queue_status::ok) {
    queue.space().notify(everybody);
  }
  return status;
}

bool byte_queue::task_done(std::size_t count) noexcept { return handle_->task_done(count); }
std::uint64_t byte_queue::unfinished() const noexcept { return handle_->unfinished(); }
queue_status byte_queue::wait_until_done(deadline until) { return handle_->wait_until_done(until); }

queue_status byte_queue::start_polling(deadline until) {
  return handle::locked([&] { return handle_->shared().start_polling(until); }, until);
}

int byte_queue::native_handle() {
  while (start_polling(forever) != queue_status::ok) {
  }
  return handle_->shared().readiness_descriptor();
}

queue_status byte_queue::start_polling_room(deadline until) {
  if (!handle_->shared().is_bounded()) {
    throw std::logic_error("a descriptor for room in a queue without bound was asked for: such a queue is never full");
  }
  return handle::locked([&] { return handle_->shared().start_polling_room(until); }, until);
}

int byte_queue::room_handle() {
  while (start_polling_room(forever) != queue_status::ok) {
  }
  return handle_->shared().room_descriptor();
}

}  // namespace shoal
