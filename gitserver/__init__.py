"""The front door: pushes arrive, are named, are carried out, and their senders are told what happened."""
