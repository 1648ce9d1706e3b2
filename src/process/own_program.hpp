#pragma once

#include <string>
#include <vector>

#include "process/program.hpp"

namespace shoal {

/// The environment variable by which a runtime knows what its program was executed as.
inline constexpr const char* role_variable = "SHOAL_PROCESS";

/// Whether this program has constructed a runtime.
[[nodiscard]] bool has_runtime() noexcept;

/// This program, to be executed once more: the running one, even if its file was replaced.
/// @param environment  without the role.
[[nodiscard]] program own_program(const std::string& role, std::vector<std::string> environment);

}  // namespace shoal
