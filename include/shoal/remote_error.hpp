#pragma once

#include <stdexcept>
#include <string>

namespace shoal {

/// An exception that left a function which ran in another process. The exception itself cannot cross; its type and text
/// do.
class remote_error : public std::runtime_error {
 public:
  /// @param where  the place it came from, such as "process 4711"
  remote_error(std::string type, std::string message, const std::string& where)
      : std::runtime_error(type + " in " + where + (message.empty() ? "" : ": " + message)),
        type_(std::move(type)),
        message_(std::move(message)) {}

  [[nodiscard]] const std::string& type() const noexcept { return type_; }        ///< "std::out_of_range"
  [[nodiscard]] const std::string& message() const noexcept { return message_; }  ///< its what(); empty if it had none

 private:
  std::string type_;
  std::string message_;
};

}  // namespace shoal
