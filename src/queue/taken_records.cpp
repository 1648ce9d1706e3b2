// What came out of a queue, or is on its way in, and refers to its memory.

#include <algorithm>
#include <chrono>
#include <memory>
#include <system_error>
#include <utility>

#include "queue/handle.hpp"
#include "shoal/byte_queue.hpp"

namespace shoal {

using queue_detail::handle;

std::byte* record_batch::append(encoding tag, std::size_t size) {
  if (size > capacity_ - used_) {
    constexpr std::size_t least = 4096;
    const std::size_t grown = std::max({least, 2 * capacity_, used_ + size});
    auto larger = std::make_unique_for_overwrite<std::byte[]>(grown);
    std::copy_n(bytes_.get(), used_, larger.get());
    bytes_ = std::move(larger);
    capacity_ = grown;
  }
  places_.push_back({tag, used_, size});
  used_ += size;
  return bytes_.get() + used_ - size;
}

borrowed_record::borrowed_record(borrowed_record&& other) noexcept { *this = std::move(other); }
borrowed_record& borrowed_record::operator=(borrowed_record&& other) noexcept {
  if (this != &other) {
    reset();
    queue_ = std::move(other.queue_);
    holder_ = std::move(other.holder_);
    bytes_ = std::exchange(other.bytes_, {});
    chunk_ = other.chunk_;
    tag_ = other.tag_;
    copy_ = std::move(other.copy_);
  }
  return *this;
}
void borrowed_record::reset() noexcept { handle::give_back(*this); }

reserved_record::reserved_record(reserved_record&& other) noexcept { *this = std::move(other); }
reserved_record& reserved_record::operator=(reserved_record&& other) noexcept {
  if (this != &other) {
    reset();
    queue_ = std::move(other.queue_);
    holder_ = std::move(other.holder_);
    bytes_ = std::exchange(other.bytes_, {});
    chunk_ = other.chunk_;
  }
  return *this;
}
void reserved_record::reset() noexcept { handle::cancel(*this); }

lease::lease(lease&& other) noexcept { *this = std::move(other); }
lease& lease::operator=(lease&& other) noexcept {
  if (this != &other) {
    end();
    queue_ = std::move(other.queue_);
    holder_ = std::move(other.holder_);
    entry_ = other.entry_;
    ticket_ = other.ticket_;
    record_ = std::move(other.record_);
  }
  return *this;
}
lease::~lease() { end(); }

void lease::end() noexcept {
  try {
    // A process that was stopped while it pushed must not stop this one for ever.
    const deadline patience = after(std::chrono::seconds(1));
    queue_status status{};
    do {
      status = give_back(patience);
    } while (status == queue_status::interrupted);
    if (status != queue_status::ok) {
      handle::abandon(*this);
    }
  } catch (const std::system_error&) {  // the segment was overwritten: whoever uses it next is told
  }
}

bool lease::acknowledge() noexcept { return handle::acknowledge(*this); }
queue_status lease::give_back(deadline until) { return handle::give_back(*this, until); }

}  // namespace shoal
