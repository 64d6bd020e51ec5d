"""A worker of `local.Processes`: reads pickled (function, item) from standard input, and answers there.

An answer is (True, what the function returned) or (False, the exception as `sending.failure` packs it). What
is printed goes to standard error, since standard output is for answers.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from queue import SimpleQueue
from typing import Any

INTERRUPTED = 130


def answer(question: bytes) -> tuple[bool, Any]:
    """What a function returns for an item."""
    try:
        compute, item = pickle.loads(question)
        return True, compute(item)
    except Exception as error:
        from ostrich.runtime.executors.sending import failure

        return False, failure(error)


def listen(questions: SimpleQueue[bytes]) -> None:
    """Questions from standard input; where it closes there is nobody to work for any more."""
    try:
        while True:
            questions.put(pickle.load(sys.stdin.buffer))
    except EOFError:
        os._exit(0)


def main() -> None:
    """Answer until nobody asks, or until an interrupt: then the work stands in its checkpoint."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    questions: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=listen, args=(questions,), daemon=True).start()
    try:
        while True:
            pickle.dump(answer(questions.get()), answers)
            answers.flush()
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
