"""`python -P -m _gitserver_runtime`: serve the model that ALGO_SERVE names, in the current folder."""

from .boot import main

if __name__ == "__main__":
    raise SystemExit(main())
