NAME = "my runtime"
