// The C++ half of joint_queue.py, which starts this program and says more about it.
//
// Takes plots of land from a queue that a Python program fills, and puts a survey of each into a queue that it empties.
//
//     joint_queue PLOTS SURVEYS
//
// Each queue is given by the numbers of its descriptors, such as 5,6 or, if it is bounded, 5,6,7.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <exception>
#include <iostream>
#include <optional>
#include <shoal/queue.hpp>
#include <sstream>
#include <string>
#include <vector>

namespace {

// An aggregate travels as a tuple: a Python program sends and gets (x, y), (point, point).
struct point {
  double x = 0;
  double y = 0;
};

struct box {
  point low;
  point high;
};

struct plot {
  std::string name;
  std::vector<std::vector<point>> rings;  // the border, then the borders of what is not part of it
};

struct survey {
  std::string name;
  std::size_t corners = 0;
  double area = 0;
  std::optional<box> bounds;  // None if there are no corners
};

}  // namespace

// Given names for its members, an aggregate travels as a dict: {"name": ..., "rings": ...}.
template <>
inline constexpr auto shoal::field_names<plot> = std::array{"name", "rings"};
template <>
inline constexpr auto shoal::field_names<survey> = std::array{"name", "corners", "area", "bounds"};

namespace {

double area_within(const std::vector<point>& ring) {
  double twice = 0;
  for (std::size_t i = 0; i < ring.size(); ++i) {
    const point& here = ring[i];
    const point& next = ring[(i + 1) % ring.size()];
    twice += here.x * next.y - next.x * here.y;
  }
  return std::abs(twice) / 2;
}

survey measure(const plot& land) {
  survey found{.name = land.name, .corners = 0, .area = 0, .bounds = {}};
  for (const std::vector<point>& ring : land.rings) {
    found.area += &ring == &land.rings.front() ? area_within(ring) : -area_within(ring);
    found.corners += ring.size();
    for (const point& corner : ring) {
      box& bounds = found.bounds ? *found.bounds : found.bounds.emplace(box{corner, corner});
      bounds.low = {std::min(bounds.low.x, corner.x), std::min(bounds.low.y, corner.y)};
      bounds.high = {std::max(bounds.high.x, corner.x), std::max(bounds.high.y, corner.y)};
    }
  }
  return found;
}

// The numbers are those of the process that started this one. It has let this process inherit the descriptors, so
// that here they mean the same queue; attaching to it makes duplicates.
shoal::queue_descriptors inherited(const std::string& numbers) {
  std::istringstream in(numbers);
  shoal::queue_descriptors found;
  char comma = 0;
  in >> found.segment >> comma >> found.readiness;
  if (in >> comma) {
    in >> found.room;
  }
  return found;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "joint_queue is started by joint_queue.py, with the descriptors of two queues\n";
    return 2;
  }
  try {
    // The two programs agree on an end: None in Python, which an empty optional is here.
    auto plots = shoal::queue<std::optional<plot>>::attach(inherited(argv[1]));
    auto surveys = shoal::queue<std::optional<survey>>::attach(inherited(argv[2]));
    while (const std::optional<plot> land = plots.pop()) {
      surveys.push(measure(*land));
    }
    surveys.push(std::nullopt);
  } catch (const std::exception& failure) {
    std::cerr << "joint_queue: " << failure.what() << '\n';
    return 1;
  }
}
