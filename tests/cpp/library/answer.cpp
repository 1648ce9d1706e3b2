// A shared library with one function, of which there are several builds.

extern "C" int shoal_test_answer() { return SHOAL_TEST_ANSWER; }
