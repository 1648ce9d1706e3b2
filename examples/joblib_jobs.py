"""A program that was written for joblib, on Shoal's pool: one line chooses the backend.

python examples/joblib_jobs.py
"""

import joblib
import shoal  # noqa: F401  makes the backend known to joblib


def word_lengths(text):
    return [len(word) for word in text.split()]


def main():
    lines = [f"this is line {'very ' * (number % 5)}number {number}" for number in range(10_000)]
    with joblib.parallel_config(backend="shoal", n_jobs=2):
        lengths = joblib.Parallel()(joblib.delayed(word_lengths)(line) for line in lines)
    print(f"{len(lengths)} lines, {sum(map(len, lengths))} words, {sum(map(sum, lengths))} letters")


if __name__ == "__main__":
    main()
