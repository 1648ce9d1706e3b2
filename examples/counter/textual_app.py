"""A Textual application that shows, in a terminal, what a worker process counts.

    python examples/counter/textual_app.py

Textual runs in asyncio's loop, which the worker's numbers wake through the queue's descriptor: there is no thread, and
nothing is polled. The button or Escape end the program; the worker is told by a second queue.
"""

import asyncio
import itertools

import shoal
from textual.app import App
from textual.containers import Middle
from textual.widgets import Button, Digits


def count(numbers, commands):
    """What the worker does: put a number a hundred times a second, until a command comes."""
    for number in itertools.count(1):
        numbers.put(number)
        if commands.get_many(1, timeout=0.01):
            return


class Counter(App):
    TITLE = "Counter"
    BINDINGS = (("escape", "quit", "Quit"),)
    CSS = """
    Screen { align: center middle; }
    Middle { align: center middle; }
    Digits { width: auto; }
    Button { dock: bottom; width: 100%; }
    """

    def __init__(self, numbers):
        super().__init__()
        self.numbers = numbers

    def compose(self):
        yield Middle(Digits())
        yield Button("Quit", action="app.quit")

    def on_mount(self):
        self.run_worker(self.show_numbers())  # a task, which Textual cancels when the application ends

    async def show_numbers(self):
        digits = self.query_one(Digits)
        async for number in self.numbers:
            digits.update(str(number))
            await asyncio.sleep(0)  # lets Textual draw and hear keys, however many come


def main():
    numbers, commands = shoal.Queue(), shoal.Queue()
    worker = shoal.Process(target=count, args=(numbers, commands), daemon=True)
    worker.start()  # before Textual takes the terminal over
    Counter(numbers).run()
    commands.put("quit")
    worker.join()


if __name__ == "__main__":
    main()
