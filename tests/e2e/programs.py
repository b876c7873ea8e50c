"""Little model repositories for the tests: each answers in a way that tells which commit answered."""

from __future__ import annotations

Files = dict[str, str | bytes | None]


def _saying(word: str) -> str:
    return f"def predict(x=None):\n    return {{'says': {word!r}}}\n"


def says(word: str) -> Files:
    """A function that answers {"says": word} whatever it is asked."""
    return {"predict.py": _saying(word)}


def answer(word: str) -> dict[str, str]:
    """What `says(word)` answers."""
    return {"says": word}


def slow(word: str, *, load_s: float) -> Files:
    """As `says`, but it takes a while to load: its release is slow to come up."""
    return {"predict.py": f"import time\n\ntime.sleep({load_s})\n\n\n{_saying(word)}"}


def thinking(word: str, *, predict_s: float) -> Files:
    """As `says`, but each answer takes a while."""
    body = f"    time.sleep({predict_s})\n    return {{'says': {word!r}}}\n"
    return {"predict.py": f"import time\n\n\ndef predict(x=None):\n{body}"}


def broken() -> Files:
    """A program that cannot be imported."""
    return {"predict.py": "import no_such_module_anywhere\n\n\ndef predict(x=None):\n    return x\n"}


def environment() -> Files:
    """Answers the value of the environment variable that it is asked for, None when it is not set."""
    return {"predict.py": "import os\n\n\ndef predict(name):\n    return os.environ.get(name)\n"}


def mortal() -> Files:
    """Answers {"says": "alive"}; asked to die, it takes its whole process group along."""
    lines = [
        "import os",
        "import signal",
        "",
        "",
        "def predict(die=False):",
        "    if die:",
        "        os.killpg(0, signal.SIGKILL)",
        "    return {'says': 'alive'}",
        "",
    ]
    return {"predict.py": "\n".join(lines)}
