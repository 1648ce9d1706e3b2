#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include "shoal/byte_queue.hpp"
#include "shoal/codec.hpp"
#include "shoal/encoder.hpp"

namespace shoal::detail {

/// Values on their way into a queue: their bytes, one behind the other, as records.
template <class T, bool Raw>
class outgoing_values {
 public:
  void clear() noexcept {
    bytes_.clear();
    ends_.clear();
  }

  void add(const T& value) {
    if constexpr (Raw) {
      const auto bytes = std::as_bytes(std::span<const T, 1>(&value, 1));
      bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    } else {
      encoder_.clear();
      encode(encoder_, value);
      bytes_.insert(bytes_.end(), encoder_.bytes().begin(), encoder_.bytes().end());
    }
    ends_.push_back(bytes_.size());
  }

  [[nodiscard]] std::size_t size() const noexcept { return ends_.size(); }

  /// Valid until the next call of a member that is not const.
  [[nodiscard]] std::span<const outgoing_record> records() {
    parts_.clear();
    records_.clear();
    std::size_t begin = 0;
    for (const std::size_t end : ends_) {
      parts_.push_back(const_bytes(bytes_).subspan(begin, end - begin));
      begin = end;
    }
    for (const const_bytes& part : parts_) {
      records_.push_back({Raw ? encoding::raw : encoding::msgpack, {&part, 1}});
    }
    return records_;
  }

 private:
  encoder encoder_;
  std::vector<std::byte> bytes_;
  std::vector<std::size_t> ends_;
  std::vector<const_bytes> parts_;
  std::vector<outgoing_record> records_;
};

}  // namespace shoal::detail
