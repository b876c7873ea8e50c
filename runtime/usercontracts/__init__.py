"""Code that was written for another platform, served as it is: one module per contract, imported when it is needed."""
