#include "shoal/error.hpp"

#include <utility>

namespace shoal {
namespace {

class category final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "shoal"; }

  [[nodiscard]] std::string message(int code) const override {
    switch (static_cast<errc>(code)) {
      case errc::not_a_segment:
        return "not a Shoal segment";
      case errc::layout_mismatch:
        return "a Shoal segment of another layout";
      case errc::wrong_kind:
        return "a Shoal segment of another kind";
      case errc::truncated_segment:
        return "truncated Shoal segment";
      case errc::corrupt_record:
        return "corrupt record";
      case errc::wrong_type:
        return "record of another type";
      case errc::closed:
        return "closed";
      case errc::unknown_function:
        return "function unknown to this process";
      case errc::broken_barrier:
        return "broken barrier";
    }
    return "unknown Shoal error " + std::to_string(code);
  }
};

}  // namespace

const std::error_category& shoal_category() noexcept {
  static const category instance;
  return instance;
}

std::error_code make_error_code(errc code) noexcept { return {static_cast<int>(code), shoal_category()}; }

error::error(errc code, std::string what) : error(make_error_code(code), std::move(what)) {}

error::error(std::error_code code, std::string what) : std::system_error(code), what_(std::move(what)) {}

}  // namespace shoal
