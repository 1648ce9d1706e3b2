#include <gtest/gtest.h>

#include "shoal/runtime.hpp"

int main(int argc, char** argv) {
  const shoal::runtime runtime;  // tests start processes that execute this program
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
