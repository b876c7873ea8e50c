NAME = "my gitserver"
