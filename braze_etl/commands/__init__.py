"""The commands, a file or folder each: options, call, words for people. They do not know each other."""
